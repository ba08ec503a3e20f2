"""Fixtures for the tests of stages."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from azure.batch import BatchClient
from azure.core.rest import HttpRequest
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


@pytest.fixture
def order(batch: BatchClient) -> Iterator[Callable[..., None]]:
    """Return a function that orders a fault in the Batch service until the end of the test."""
    address = "/_local/faults?api-version=2025-06-01"

    def order_fault(kind: str, **details: Any) -> None:
        request = HttpRequest("POST", address, json={"kind": kind, **details})
        batch.send_request(request).raise_for_status()

    yield order_fault
    batch.send_request(HttpRequest("DELETE", address)).raise_for_status()
