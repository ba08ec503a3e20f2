"""Headless Chromium, driven by Playwright: what a person sees, and pictures of it.

The asynchronous API: the synchronous one leaves a running event loop in its thread, and no
asynchronous test can then start its own.
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
    "--no-sandbox",  # root, as in containers, may not use it
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # no page gets at the internet
)


def find_chromium() -> str:
    """The machine's Chromium; where there is none, the test is skipped, or fails where it may not.

    `BROWSER_TESTS=required` is what CI sets.
    """
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found:
        return found
    reason = "there is no Chromium on this machine (on Debian: apt-get install chromium)"
    if os.environ.get("BROWSER_TESTS") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


@asynccontextmanager
async def running_browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        yield await playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))


class Window:
    """A page in a window of its own, with what it complained of and what it asked the network."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self._hear(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._note)

    def _hear(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    def _note(self, request: Request) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.requests.append(request.url)

    async def take_picture(self, name: str, *, is_whole: bool = False) -> Path:
        """A screenshot, of what is in view or of the whole page; git ignores its folder."""
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
