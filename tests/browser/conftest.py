"""Pages as a person sees them, in one Chromium for all tests of this folder.

Its tests run in the session's event loop, where that Chromium is:
`pytestmark = pytest.mark.asyncio(loop_scope="session")`.
"""

from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser

from browser import Window, open_window, running_browser


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with running_browser() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def window(browser: Browser) -> AsyncIterator[Window]:
    """A light one, of a desktop's size."""
    async with open_window(browser) as window:
        yield window
