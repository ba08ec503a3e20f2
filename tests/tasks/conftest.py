"""Fixtures for the tests of stages."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from prefect import flow

from tasks import outages, preflight
from tasks.azure import clients


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses between tries: those of the SDKs, of the preflight, and in an outage."""
    batch = clients.BATCH_RETRIES | {"retry_backoff_factor": 0.01}
    storage = {"initial_backoff": 0, "increment_base": 0, "random_jitter_range": 0}
    monkeypatch.setattr(clients, "BATCH_RETRIES", batch)
    monkeypatch.setattr(clients, "STORAGE_RETRIES", clients.STORAGE_RETRIES | storage)
    monkeypatch.setattr(outages, "PAUSES_SECONDS", (0.05,))
    monkeypatch.setattr(preflight, "PAUSES_SECONDS", (0, 0.01, 0.01))


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
