import asyncio
import signal
from collections.abc import Iterator

import pytest

from flows.cli.exit_signals import EXIT_SIGNALS
from flows.cli.signals import Terminated, held_signals, raise_on_signals, run_beside_signals


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


@pytest.fixture
def restored_signals() -> Iterator[None]:
    """Restore the handlers of this process after the test."""
    handlers = {number: signal.getsignal(number) for number in EXIT_SIGNALS}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("restored_signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_that_ends_processes_is_raised_once(number: signal.Signals) -> None:
    signal.signal(number, signal.SIG_DFL)  # in the background, a shell ignores SIGQUIT
    raise_on_signals()
    with pytest.raises(Terminated) as raised:
        signal.raise_signal(number)
    assert raised.value.number == number
    signal.raise_signal(number)


@pytest.mark.usefixtures("restored_signals")
def test_a_hangup_that_nohup_ignores_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    raise_on_signals()
    signal.raise_signal(signal.SIGHUP)
