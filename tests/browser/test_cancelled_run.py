"""The page of a run that was cancelled."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from playwright.async_api import expect
from run_pages import artifacts_of, run_named

from browser import Window
from flows.cli.samples import make_samples
from programs import CONVERT
from workers import PREFECT

pytestmark = pytest.mark.asyncio(loop_scope="session")
PATIENCE_SECONDS = 60


async def start(folder: Path, environment: dict[str, str]) -> asyncio.subprocess.Process:
    """Start the command, and return once its batch tasks are added."""
    process = await asyncio.create_subprocess_exec(
        *CONVERT,
        folder,
        *("--container", "cancelled", "--cleanup.container", "cancelled-input"),
        env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout
    while b" added" not in await process.stdout.readline():
        pass
    return process


async def cancel(run_id: UUID) -> None:
    """Cancel a run as a user does. The UI's button is only for runs of deployments."""
    process = await asyncio.create_subprocess_exec(PREFECT, "flow-run", "cancel", str(run_id))
    assert await process.wait() == 0


async def test_the_page_of_a_cancelled_run_shows_its_files_and_no_crash(
    window: Window,
    account: dict[str, str],
    prefect_server: str,
    order: Callable[..., None],
    tmp_path: Path,
) -> None:
    order("boot", seconds=3600)
    folder = make_samples(tmp_path / "talks")[0].parent
    process = await start(folder, account)
    run_id = await run_named(f"{tmp_path.name}/talks to mp3")
    server = prefect_server.removesuffix("/api")
    await cancel(run_id)
    await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
    await window.page.goto(f"{server}/runs/flow-run/{run_id}")
    await window.page.get_by_text("Cancelled").first.wait_for()
    await window.page.get_by_text("Logs", exact=True).first.click()
    await window.page.get_by_text("Finished in state Cancelled").first.wait_for()
    await expect(window.page.get_by_text("Crash detected")).to_have_count(0)
    await window.take_screenshot("prefect-cancelled-run")
    await show_files(window, server, run_id)


async def show_files(window: Window, server: str, run_id: UUID) -> None:
    files = (await artifacts_of(run_id))["files"]
    await window.page.goto(f"{server}/artifacts/artifact/{files.id}")
    rows = window.page.locator("table tbody tr")
    await expect(rows).to_have_count(5)
    await expect(rows.first).to_contain_text("not started")
    await window.take_screenshot("prefect-cancelled-files")
