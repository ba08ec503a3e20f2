"""One Chromium for all tests of this folder.

Chromium belongs to the session's event loop, so the tests must run there too:
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
    """Return a window with a light theme in the size of a desktop."""
    async with open_window(browser) as window:
        yield window
