"""The forms in Prefect's UI for a run and for the accounts block."""

import asyncio
import re
from uuid import UUID

import pytest
from playwright.async_api import Locator, expect
from prefect import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId

from browser import Window
from flows.cli.served_deployments import PREFECT_FILE, ROOT, read_prefect_file
from tasks.azure.account_block import AzureAccounts, named_accounts
from tasks.azure.settings import Accounts
from tasks.parameters import Pool, Request

pytestmark = pytest.mark.asyncio(loop_scope="session")
TALL = {"width": 1280, "height": 4600}
KEY = "Y2FuYXJ5"


def deploy() -> UUID:
    deployments = {each.name: each for each in read_prefect_file(PREFECT_FILE).deployments}
    served = deployments["convert-local"].to_serve()
    served.name, served.schedules = "form", []  # another test runs the deployment convert-local
    return served.apply()


def field(window: Window, label: str) -> Locator:
    """Return the control under a label. Prefect does not connect its labels with controls."""
    title = window.page.locator(".p-label__label", has_text=re.compile(rf"^\s*{label}"))
    return window.page.locator(".p-label", has=title).last.locator("input, textarea").first


async def test_the_run_form_explains_each_field_and_an_override_keeps_other_defaults(
    window: Window, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    deployment = await asyncio.to_thread(deploy)
    page = window.page
    await page.set_viewport_size(TALL)
    await page.goto(
        f"{prefect_server.removesuffix('/api')}/deployments/deployment/{deployment}/run"
    )
    await page.get_by_text("Slots Per Node").wait_for()
    for name, model in Request.model_fields.items():
        boxes = getattr(model.annotation, "model_fields", {name: model})
        for box in boxes.values():
            await expect(page.get_by_text(box.description).first).to_be_visible()
    await field(window, "Slots Per Node").fill("1")
    await window.take_screenshot("run-form")
    await page.get_by_role("button", name="Submit").click()
    await page.wait_for_url(re.compile(rf"/{deployment}(\?|$)"))
    async with get_client() as client:
        wanted = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
        (run,) = await client.read_flow_runs(deployment_filter=wanted)
        await client.delete_deployment(deployment)
    assert Request.model_validate(run.parameters).pool == Pool(slots_per_node=1)


@pytest.mark.parametrize("interface", ["", "/v2"])
async def test_the_block_form_has_no_links_to_placeholder_addresses(
    window: Window, prefect_server: str, interface: str
) -> None:
    await AzureAccounts.aregister_type_and_schema()
    page = window.page
    server = prefect_server.removesuffix("/api")
    await page.goto(f"{server}{interface}/blocks/catalog/azure-accounts/create")
    await page.get_by_text("https://batch.CLOUD/").first.wait_for()
    await window.take_screenshot(f"block-form{interface.replace('/', '-')}")
    links = await page.locator("a").evaluate_all("all => all.map(a => a.href)")
    assert not [link for link in links if "account" in link.lower() and "region" in link.lower()]
    assert not [link for link in links if "batch.cloud" in link.lower()]


async def test_the_block_form_saves_the_accounts_and_hides_the_key(
    window: Window, prefect_server: str
) -> None:
    await AzureAccounts.aregister_type_and_schema()
    page = window.page
    await page.goto(f"{prefect_server.removesuffix('/api')}/blocks/catalog/azure-accounts/create")
    await field(window, "Block Name").fill("from-the-form")
    await field(window, "Batch Endpoint").fill("https://b.westeurope.batch.azure.com")
    await field(window, "Batch Account").fill("b")
    await field(window, "Batch Key").fill(KEY)
    await field(window, "Storage Account").fill("s")
    await page.get_by_role("button", name="Create").click()
    await page.wait_for_url("**/blocks/block/**")
    await page.get_by_text("https://b.westeurope.batch.azure.com").first.wait_for()
    await window.take_screenshot("block")
    assert KEY not in await page.content()
    assert "<" not in "".join(each.description or "" for each in Accounts.model_fields.values())
    accounts = await named_accounts("from-the-form")
    assert accounts.batch_key.get_secret_value() == KEY
