"""The forms in Prefect's UI: of a run, and of the block for the accounts."""

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
    served.name, served.schedules = "form", []  # its own: another test runs the one of this name
    return served.apply()


def field(window: Window, label: str) -> Locator:
    """The innermost control under a label: Prefect's labels are tied to none."""
    title = window.page.locator(".p-label__label", has_text=re.compile(rf"^\s*{label}"))
    return window.page.locator(".p-label", has=title).last.locator("input, textarea").first


async def test_the_form_of_a_run_explains_each_field_and_an_override_leaves_the_others(
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
    await window.take_picture("run-form")
    await page.get_by_role("button", name="Submit").click()
    await page.wait_for_url(re.compile(rf"/{deployment}(\?|$)"))
    async with get_client() as client:
        wanted = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
        (run,) = await client.read_flow_runs(deployment_filter=wanted)
        await client.delete_deployment(deployment)
    assert Request.model_validate(run.parameters).pool == Pool(slots_per_node=1)


async def test_the_blocks_form_takes_the_accounts_and_shows_no_key_afterwards(
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
    await window.take_picture("block")
    assert KEY not in await page.content()
    assert "<" not in "".join(each.description or "" for each in Accounts.model_fields.values())
    accounts = await named_accounts("from-the-form")
    assert accounts.batch_key.get_secret_value() == KEY
