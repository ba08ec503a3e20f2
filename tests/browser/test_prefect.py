"""Prefect's own pages, in both of its interfaces."""

import pytest

from browser import Window

pytestmark = pytest.mark.asyncio(loop_scope="session")
INTERFACES = ["", "/v2"]


@pytest.mark.parametrize("interface", INTERFACES)
async def test_both_interfaces_of_prefect_open(
    window: Window, prefect_server: str, interface: str
) -> None:
    await window.page.goto(f"{prefect_server.removesuffix('/api')}{interface}/runs")
    await window.page.get_by_text("Deployments").first.wait_for()
    await window.take_picture(f"runs{interface.replace('/', '-')}")
