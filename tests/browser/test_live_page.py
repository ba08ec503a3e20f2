"""The live page of the local Azure in a browser: states, evictions, hostile names, themes."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from azure.batch import BatchClient
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import HttpResponseError
from azure.core.rest import HttpRequest
from playwright.async_api import Browser, expect

from browser import DESKTOP, Window, open_window
from local_azure.testing import LocalStack, local_stack

pytestmark = pytest.mark.asyncio(loop_scope="session")
PHONE = (400, 800)
EVIL = "<img src=x onerror=\"document.title='pwned'\">\u202e"
IMAGE = {"publisher": "canonical", "offer": "ubuntu-24_04-lts", "sku": "server"}
MACHINE = {"imageReference": IMAGE, "nodeAgentSKUId": "batch.node.ubuntu 24.04"}


@pytest.fixture(scope="module")
def lone_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Run a Batch service that no other test uses."""
    with local_stack(tmp_path_factory.mktemp("lone"), "--no-storage", "--nodes", "200") as stack:
        yield stack


@pytest.fixture(scope="module")
def client(lone_stack: LocalStack) -> Iterator[BatchClient]:
    settings = lone_stack.settings
    key = AzureNamedKeyCredential(settings["AZURE_BATCH_ACCOUNT"], lone_stack.batch_key)
    with BatchClient(settings["AZURE_BATCH_ENDPOINT"], key, retry_total=0) as client:
        yield client


@pytest.fixture
def link(lone_stack: LocalStack) -> str:
    return lone_stack.settings["LOCAL_AZURE_PAGE"]


@pytest.fixture(scope="module")
def order_fault(client: BatchClient) -> Callable[..., None]:
    def send(kind: str, **fields: Any) -> None:
        path = "/_local/faults?api-version=2025-06-01"
        request = HttpRequest("POST", path, json={"kind": kind, **fields})
        client.send_request(request).raise_for_status()

    return send


def add_pool(client: BatchClient, pool_id: str, **fields: Any) -> None:
    known = {"id": pool_id, "vmSize": "Standard_D2ds_v5", "virtualMachineConfiguration": MACHINE}
    client.create_pool(known | fields)


def add_work(client: BatchClient, *, pool_id: str, job_id: str, tasks: int) -> None:
    client.create_job({"id": job_id, "displayName": EVIL, "poolInfo": {"poolId": pool_id}})
    commands = ("/bin/sh -c 'exit 1'", "sleep 600")
    for number in range(tasks):
        task = {"id": f"task-{number}", "commandLine": commands[number > 0]}
        client.create_task(job_id, task)


async def show(window: Window, link: str) -> None:
    await window.page.goto(link)
    await window.page.locator("html[data-ready]").wait_for()


async def test_an_empty_account_is_shown(window: Window, link: str) -> None:
    await show(window, link)
    await expect(window.page.get_by_text("No pool yet.")).to_be_visible()
    await expect(window.page.get_by_role("status")).to_have_text("Live")
    await window.take_screenshot("live-page-empty")
    assert window.problems == []


async def test_an_ordered_eviction_is_seen_without_a_reload(
    window: Window, link: str, client: BatchClient, order_fault: Callable[..., None]
) -> None:
    await show(window, link)
    add_pool(client, "spot", targetLowPriorityNodes=3, targetDedicatedNodes=1)
    pool = window.page.locator(".pool", has_text="spot")
    await expect(pool.locator(".legend")).to_have_text("4 idle")
    assert await pool.locator(".map li.spot").count() == 3
    add_work(client, pool_id="spot", job_id="work", tasks=4)
    await expect(pool.locator(".map li.running")).to_have_count(3)
    node = next(n.id for n in client.list_nodes("spot") if n.state == "running" and n.id[-1] == "p")
    order_fault("evict", pool="spot", node=node, returnSeconds=None)
    await expect(pool.locator(".map li.preempted")).to_have_count(1)
    loss = pool.locator(".losses li")
    await expect(loss).to_contain_text("was evicted; 1 task queued again")
    await pool.locator(".map li.running").first.hover()
    await expect(pool.locator(".pointed")).to_contain_text("running for")
    await expect(pool.locator(".pointed")).to_contain_text("work/task-")
    assert window.problems == []


async def test_hostile_names_are_shown_as_text(
    window: Window, link: str, client: BatchClient, order_fault: Callable[..., None]
) -> None:
    add_pool(client, "hostile", displayName=EVIL)
    add_work(client, pool_id="hostile", job_id="evil", tasks=0)
    order_fault("answer", status=503, operation=f"GET /{EVIL}", times=2)
    with suppress(HttpResponseError):
        client.send_request(HttpRequest("GET", f"/{EVIL}?api-version=2025-06-01"))
    await show(window, link)
    shown = EVIL.replace("\u202e", "\\u202e")
    for section in ("#pools", "#jobs", "#faults", "#refusals"):
        await expect(window.page.locator(section)).to_contain_text(shown)
    assert await window.page.locator("body img").count() == 0
    assert await window.page.title() == "Local Azure Batch"
    assert window.problems == []


@pytest.mark.parametrize(
    ("is_dark", "size"), [(False, DESKTOP), (True, PHONE)], ids=["light-desktop", "dark-phone"]
)
async def test_it_fits_is_accessible_and_asks_only_its_own_service(
    browser: Browser,
    client: BatchClient,
    link: str,
    is_dark: bool,  # noqa: FBT001  parametrized
    size: tuple[int, int],
) -> None:
    with suppress(HttpResponseError):  # the first of these tests creates it
        add_pool(client, "many", targetLowPriorityNodes=150)
    async with open_window(browser, is_dark=is_dark, size=size) as window:
        await show(window, link)
        await expect(window.page.locator(".pool.large .map li")).to_have_count(150)
        paper = await window.page.evaluate("getComputedStyle(document.documentElement).background")
        assert ("rgb(15, 20, 25)" if is_dark else "rgb(255, 255, 255)") in paper
        assert await window.page.evaluate("document.documentElement.scrollWidth") <= size[0]
        found = await Axe().run(window.page)
        assert found.violations_count == 0, found.generate_report()
        theme, width = "dark" if is_dark else "light", size[0]
        await window.take_screenshot(f"live-page-{theme}-{width}", is_whole=True)
        assert {url.partition("/_local/")[0] for url in window.requests} == {
            link.partition("/_local/")[0]
        }
        assert window.problems == []


async def test_a_wrong_link_says_where_the_right_one_is(window: Window, link: str) -> None:
    await window.page.goto(f"{link}wrong")
    await expect(window.page.get_by_role("status")).to_contain_text("LOCAL_AZURE_PAGE")
    await expect(window.page.locator("main")).to_be_hidden()


async def test_a_service_that_stops_and_returns_is_noticed(window: Window, tmp_path: Path) -> None:
    status = window.page.get_by_role("status")
    with local_stack(tmp_path, "--no-storage") as stack:
        await show(window, stack.settings["LOCAL_AZURE_PAGE"])
        await expect(status).to_have_text("Live")
    await expect(status).to_contain_text("local-azure does not answer")
    port = stack.settings["AZURE_BATCH_ENDPOINT"].rpartition(":")[2]
    with local_stack(tmp_path, "--no-storage", "--batch-port", port):
        await expect(status).to_have_text("Live")
