"""Signals ask a run to stop, and do not interrupt it in the middle of a line."""

import asyncio
import os
import signal
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from flows.cli.exit_signals import EXIT_SIGNALS, is_ignored
from tasks.termination import request_end

WAKE_SECONDS = 0.5  # a signal that another thread receives does not wake a waiting one
Result = TypeVar("Result")


class Terminated(BaseException):
    """SIGTERM, SIGHUP or SIGQUIT was received. Later ones are ignored: the run is ending."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = signal.Signals(number)


def raise_on_signals() -> None:
    """Raise `Terminated` in the main thread on a signal, as Python raises KeyboardInterrupt."""
    for number in EXIT_SIGNALS:
        if not is_ignored(number):
            signal.signal(number, _terminate)
    if not is_ignored(signal.SIGINT):
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def held_signals() -> Iterator[None]:
    """Hold back signals until the block ends: during imports, C code would lose them."""
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in EXIT_SIGNALS}
    for number in before:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def _terminate(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  as signal calls it
    for other in EXIT_SIGNALS.keys() - {signal.SIGINT}:
        signal.signal(other, signal.SIG_IGN)
    if number == signal.SIGHUP:
        drop_output_to_terminal()
    raise Terminated(number)


def drop_output_to_terminal() -> None:
    """Discard what is printed to a closed terminal: a log line that fails would end the cleanup."""
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError:
            with Path(os.devnull).open("wb") as null:
                os.dup2(null.fileno(), descriptor)


def run_beside_signals(run: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine in another thread, so that signals do not interrupt it in the middle.

    The first signal asks the run to stop, and waits for its cleanup. The second does not wait.
    """
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Result]]] = Future()
    ended: Future[Result] = Future()

    async def main() -> Result:
        task = asyncio.ensure_future(run)
        started.set_result((asyncio.get_running_loop(), task))
        return await task

    def work() -> None:
        try:
            ended.set_result(asyncio.run(main()))
        except BaseException as error:  # noqa: BLE001  it goes to the thread that waits
            ended.set_exception(error)

    try:
        with held_signals():
            threading.Thread(target=work, name="run", daemon=True).start()
        while not wait([ended], timeout=WAKE_SECONDS).done:
            pass
        return ended.result()
    except (KeyboardInterrupt, Terminated):
        loop, task = started.result()
        with suppress(RuntimeError):  # its loop is closed: the run has just ended
            if not request_end():
                loop.call_soon_threadsafe(task.cancel)
        wait([ended])
        raise
