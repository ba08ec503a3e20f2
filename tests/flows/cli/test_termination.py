import asyncio
import os
import signal
from typing import Any

import pytest
from prefect.exceptions import TerminationSignal
from prefect.utilities.engine import capture_sigterm

from flows.cli.termination import heeded_termination

LOST_SECONDS = 5


def kill() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_ends_a_run_also_in_a_callback_and_lets_it_clean_up(heard: list[int]) -> None:
    cleaned: list[bool] = []

    async def run() -> None:
        with heeded_termination():
            asyncio.get_running_loop().call_soon(kill)
            try:
                async with asyncio.timeout(LOST_SECONDS):
                    await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                cleaned.append(True)

    with pytest.raises(TerminationSignal), capture_sigterm():
        asyncio.run(run())
    assert (cleaned, heard) == ([True], [signal.SIGTERM])


@pytest.mark.parametrize("error", [None, ValueError("of the cleanup")])
def test_a_signal_is_heeded_whatever_the_run_makes_of_its_cancel(
    heard: list[int], error: Exception | None
) -> None:
    async def run() -> None:
        with heeded_termination():
            asyncio.get_running_loop().call_soon(kill)
            try:
                async with asyncio.timeout(LOST_SECONDS):
                    await asyncio.Event().wait()
            except asyncio.CancelledError:  # taken for another's
                if error:
                    raise error from None

    with pytest.raises(TerminationSignal), capture_sigterm():
        asyncio.run(run())
    assert heard == [signal.SIGTERM]


async def test_a_cancel_stays_a_cancel() -> None:
    async def run() -> None:
        with heeded_termination():
            await asyncio.Event().wait()

    running = asyncio.create_task(run())
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_other_errors_of_callbacks_are_logged_as_before(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> Any:
        raise ValueError("of a callback")

    with heeded_termination():
        asyncio.get_running_loop().call_soon(fail)
        await asyncio.sleep(0)
    assert "of a callback" in caplog.text
