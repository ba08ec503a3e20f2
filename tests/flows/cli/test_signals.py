import asyncio
import signal

import pytest
from prefect.exceptions import TerminationSignal
from records import a_request, a_ticket

from flows.cli.signals import held_signals, run_beside_signals
from flows.convert import unless_cancelled
from flows.work import Work


async def test_a_workers_signal_that_strikes_the_look_for_a_cancel_is_no_cancel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def strike(_: Work) -> None:
        raise TerminationSignal(signal.SIGTERM)

    async def work_on(_: Work) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("flows.convert.until_cancelled", strike)
    monkeypatch.setattr("flows.convert.work_through", work_on)
    with pytest.raises(TerminationSignal):
        await unless_cancelled(Work(request=a_request(), ticket=a_ticket()))


def test_a_signal_waits_until_the_block_ends(heard: list[int]) -> None:
    with held_signals():
        signal.raise_signal(signal.SIGTERM)
        assert heard == []
    assert heard == [signal.SIGTERM]


def test_without_a_signal_nothing_is_heard(heard: list[int]) -> None:
    with held_signals():
        pass
    assert heard == []


def test_ctrl_c_lets_a_run_clean_up_before_it_is_raised() -> None:
    cleaned: list[bool] = []

    async def run() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    with pytest.raises(KeyboardInterrupt):
        run_beside_signals(run())
    assert cleaned == [True]
