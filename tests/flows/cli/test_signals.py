import asyncio
import signal

import pytest

from flows.cli.signals import held_signals, run_beside_signals


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
