"""A run's page and artifacts in both of Prefect's UIs, after a run with a failure."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, expect
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

from browser import Window, open_window
from flows.cli.samples import make_samples
from local_azure.testing import LocalStack
from programs import CONVERT

pytestmark = pytest.mark.asyncio(loop_scope="session")
HOSTILE = "1. _a_ [b](javascript:c) `d` <img src=x>.mp4"
INTERFACES = ["", "/v2"]
LINE_PIXELS = 30  # of a list; a reason that wraps is taller


@dataclass(frozen=True)
class Finished:
    """A finished run, with the URLs of its pages."""

    picture: Path
    server: str
    id: str
    name: str
    artifacts: dict[str, str]  # ids, by key

    def url(self, interface: str) -> str:
        return f"{self.server}{interface}/runs/flow-run/{self.id}"

    def artifact_url(self, interface: str, key: str) -> str:
        return f"{self.server}{interface}/artifacts/artifact/{self.artifacts[key]}"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def finished(
    stack: LocalStack, prefect_server: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Finished]:
    """Return a run that converted six clips, one with a hostile name, and failed on two files."""
    clip = make_samples(tmp_path_factory.mktemp("page") / "talks")[0]
    folder = clip.parent
    whole = await asyncio.to_thread(clip.read_bytes)
    await asyncio.to_thread((folder / "cut.mp4").write_bytes, whole[: len(whole) // 2])
    await asyncio.to_thread(shutil.copy, folder / "01 sunrise.mp4", folder / HOSTILE)
    await asyncio.to_thread((folder / "notes.mp4").write_text, "this is not a video\n" * 100)
    report = folder.parent / "report.json"
    words = [*CONVERT, folder, "--container", "page", "--report", report]
    environment = os.environ | stack.settings | {"PREFECT_API_URL": prefect_server}
    process = await asyncio.create_subprocess_exec(*words, env=environment)
    assert await process.wait() == 1
    yield await find(prefect_server, report.with_suffix(".html"))


async def find(api: str, picture: Path) -> Finished:
    name = f"{picture.parent.name}/talks to mp3"
    async with get_client() as client:
        (run,) = [run for run in await client.read_flow_runs() if run.name == name]
        of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
        found = await client.read_artifacts(artifact_filter=of_run)
    artifacts = {artifact.key: str(artifact.id) for artifact in found if artifact.key}
    return Finished(picture, api.removesuffix("/api"), str(run.id), name, artifacts)


def text_of(window: Window, text: str) -> Locator:
    return window.page.get_by_text(text, exact=True).first


def screenshot_name(name: str, interface: str) -> str:
    return f"prefect-{name}{interface.replace('/', '-')}"


@pytest.mark.parametrize("interface", INTERFACES)
async def test_the_page_of_a_run_shows_its_name_stages_and_artifacts(
    window: Window, finished: Finished, interface: str
) -> None:
    await window.page.goto(finished.url(interface))
    await text_of(window, finished.name).wait_for()
    await text_of(window, "Task Runs").click()
    for stage in ("plan", "pool", "job", "upload wave 1", "submit wave 1", "completion", "report"):
        await text_of(window, stage).wait_for()
    await window.take_screenshot(screenshot_name("run", interface))
    await text_of(window, "Artifacts").click()
    for key in ("convert-page-mp3-files", "convert-page-mp3-report"):  # of task runs: below
        await window.page.get_by_text(key).first.wait_for()
    await window.take_screenshot(screenshot_name("artifacts", interface))


@pytest.mark.parametrize("interface", INTERFACES)
async def test_the_table_of_files_can_be_searched_and_shows_hostile_names_as_text(
    window: Window, finished: Finished, interface: str
) -> None:
    await window.page.goto(finished.artifact_url(interface, "convert-page-mp3-files"))
    rows = window.page.locator("table tbody tr")
    await expect(rows).to_have_count(8)
    await expect(rows.first).to_contain_text("cut.mp4")
    await expect(rows.nth(1)).to_contain_text("notes.mp4")
    await window.take_screenshot(screenshot_name("files", interface))
    assert await window.page.locator("td img, td a, td em, td ol").count() == 0
    await window.page.get_by_placeholder("Search").fill("javascript")
    await expect(rows).to_have_count(1)


@pytest.mark.parametrize("interface", INTERFACES)
async def test_the_report_shows_totals_reasons_and_the_ffmpeg_command(
    browser: Browser, finished: Finished, interface: str
) -> None:
    async with open_window(browser, size=(1280, 1700)) as window:
        await window.page.goto(finished.artifact_url(interface, "convert-page-mp3-report"))
        await window.page.get_by_role("heading", name="6 converted, 2 failed").wait_for()
        main = window.page.locator("body")
        for text in ("Node hours", "not a media file of a known format", "ffmpeg -hide_banner"):
            await expect(main).to_contain_text(text)
        reason = window.page.locator("li", has_text="cut.mp4")
        assert await reason.evaluate("it => it.scrollWidth <= it.clientWidth")
        assert await reason.evaluate("it => it.getClientRects()[0].height") > LINE_PIXELS
        assert await window.page.locator("th:empty").count() == 0
        await window.take_screenshot(screenshot_name("report", interface))


@pytest.mark.parametrize("interface", INTERFACES)
async def test_the_progress_ends_at_100_percent(
    window: Window, finished: Finished, interface: str
) -> None:
    await window.page.goto(finished.artifact_url(interface, "convert-page-mp3-progress"))
    await window.page.get_by_text("100%").first.wait_for()
    await window.page.get_by_text("7 of 7 files done").first.wait_for()
    await window.take_screenshot(screenshot_name("progress", interface))


async def test_the_picture_of_a_real_run_opens(window: Window, finished: Finished) -> None:
    await window.page.goto(finished.picture.as_uri())
    await window.page.locator("html[data-ready]").wait_for()
    await expect(window.page.locator("#figures")).to_contain_text("6 of 8")
    assert (window.problems, window.requests) == ([], [])
    await window.take_screenshot("picture-real")
