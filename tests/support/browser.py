"""Headless Chromium, driven by Playwright, with screenshots.

It uses the asynchronous API. The synchronous one leaves a running event loop in its thread, so that
asynchronous tests could not start their own.
"""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, Request, async_playwright

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
NAMES = ("chromium", "chromium-browser", "google-chrome")
DESKTOP = (1280, 900)
TIMEOUT_MS = 60_000
FLAGS = (
    "--no-sandbox",  # Chromium refuses its sandbox to root, the user in containers
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # pages cannot reach the internet
)


def find_chromium() -> str:
    """Return the path of Chromium. Without it, skip the test.

    With `BROWSER_TESTS=required`, which CI sets, the test fails instead.
    """
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found:
        return found
    reason = "Chromium is not installed (on Debian: apt-get install chromium)"
    if os.environ.get("BROWSER_TESTS") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


@asynccontextmanager
async def running_browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        yield await playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))


class Window:
    """A page in its own window, with its errors, warnings and network requests."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.problems: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self._note_message(message.type, message.text))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", self._note_request)

    def _note_message(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.problems.append(text)

    def _note_request(self, request: Request) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.requests.append(request.url)

    async def take_screenshot(self, name: str, *, is_whole: bool = False) -> Path:
        """Save a screenshot of the visible part or of the whole page in build/screenshots."""
        path = SCREENSHOTS / f"{name}.png"
        await self.page.screenshot(path=path, full_page=is_whole)
        return path


@asynccontextmanager
async def open_window(
    browser: Browser, *, size: tuple[int, int] = DESKTOP, is_dark: bool = False
) -> AsyncIterator[Window]:
    page = await browser.new_page(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if is_dark else "light",
        reduced_motion="reduce",
    )
    page.set_default_timeout(TIMEOUT_MS)
    try:
        yield Window(page)
    finally:
        await page.close()
