"""Ctrl-C and SIGTERM: they ask a run to stop, and tear no line of it."""

import asyncio
import signal
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TypeVar

HEARING_SECONDS = 0.5  # a signal that another thread gets does not wake the one that waits
Result = TypeVar("Result")


class Terminated(BaseException):
    """SIGTERM came. What is being ended then is not to be ended again."""


def heed_signals() -> None:
    """Raise `Terminated` in the main thread when SIGTERM comes, as Python does for Ctrl-C."""
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # as for what a shell runs beside itself
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def held_signals() -> Iterator[None]:
    """Let signals wait until the block ends: imports, within which C code would garble them."""
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
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
    signal.signal(number, signal.SIG_IGN)
    raise Terminated


def run_beside_signals(run: Coroutine[Any, Any, Result]) -> Result:
    """Run in another thread: a signal then reaches this one, and tears no line of the run.

    A first signal asks the run to stop, and waits until it has cleaned up; a second does not wait.
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
        except BaseException as error:  # noqa: BLE001  it goes to who waits
            ended.set_exception(error)

    try:
        with held_signals():
            threading.Thread(target=work, name="run", daemon=True).start()
        while not wait([ended], timeout=HEARING_SECONDS).done:
            pass
        return ended.result()
    except (KeyboardInterrupt, Terminated):
        loop, task = started.result()
        with suppress(RuntimeError):  # its loop is closed: it has just ended
            loop.call_soon_threadsafe(task.cancel)
        wait([ended])
        raise
