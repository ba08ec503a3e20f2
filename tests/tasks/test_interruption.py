import asyncio
import os
import signal
from typing import Any

import pytest
from prefect.exceptions import TerminationSignal
from prefect.utilities.engine import capture_sigterm
from records import a_request, a_ticket

from tasks.interruption import raised_termination, uninterrupted, unless_ended
from tasks.run import RunState

LOST_SECONDS = 5


def kill() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_in_a_callback_ends_a_run_after_its_cleanup(heard: list[int]) -> None:
    cleaned: list[bool] = []

    async def run() -> None:
        with raised_termination():
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
def test_a_signal_ends_a_run_that_swallows_its_cancellation(
    heard: list[int], error: Exception | None
) -> None:
    async def run() -> None:
        with raised_termination():
            asyncio.get_running_loop().call_soon(kill)
            try:
                async with asyncio.timeout(LOST_SECONDS):
                    await asyncio.Event().wait()
            except asyncio.CancelledError:  # as if from elsewhere
                if error:
                    raise error from None

    with pytest.raises(TerminationSignal), capture_sigterm():
        asyncio.run(run())
    assert heard == [signal.SIGTERM]


async def test_a_cancellation_stays_a_cancellation() -> None:
    async def run() -> None:
        with raised_termination():
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

    with raised_termination():
        asyncio.get_running_loop().call_soon(fail)
        await asyncio.sleep(0)
    assert "of a callback" in caplog.text


async def test_a_workers_signal_during_the_look_for_a_cancellation_is_not_a_cancellation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def strike(_: RunState) -> None:
        raise TerminationSignal(signal.SIGTERM)

    async def work_on() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("tasks.interruption.until_cancelled", strike)
    run = RunState(request=a_request(), ticket=a_ticket())
    with pytest.raises(TerminationSignal):
        await unless_ended(run, work_on(), requested=asyncio.Event())


async def test_an_ending_finishes_before_its_cancellation_is_raised() -> None:
    begun, may_end, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def end() -> None:
        begun.set()
        await may_end.wait()
        ended.set()

    ending = asyncio.create_task(uninterrupted(end()))
    await begun.wait()
    ending.cancel()
    asyncio.get_running_loop().call_soon(may_end.set)
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert ended.is_set()


async def test_an_ending_that_takes_too_long_is_given_up_some_seconds_after_a_cancellation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tasks.interruption.SIGNAL_SECONDS", 0.1)
    begun, given_up = asyncio.Event(), asyncio.Event()

    async def end() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()

    ending = asyncio.create_task(uninterrupted(end()))
    await begun.wait()
    ending.cancel()
    async with asyncio.timeout(LOST_SECONDS):
        with pytest.raises(asyncio.CancelledError):
            await ending
    assert given_up.is_set()
