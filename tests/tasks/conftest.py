"""Fixtures for the tests of stages."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from prefect import flow


@pytest.fixture
def in_flow(prefect_server: str) -> Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]:
    """Return a function that runs another one inside a flow, which Prefect's tasks need."""
    assert prefect_server

    async def run(function: Callable[[], Awaitable[Any]]) -> Any:
        @flow(name="test", persist_result=False)
        async def test() -> Any:
            return await function()

        return await test()

    return run
