"""The reaper kills what the service could not end."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from deployments.local.batch.reaper import Reaper


@pytest.fixture
def sleeper() -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts processes that lead groups of their own."""
    with ExitStack() as started:

        def start() -> subprocess.Popen[bytes]:
            process = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True)
            started.enter_context(process)
            started.callback(process.kill)
            return process

        yield start


def test_what_still_runs_when_the_pipe_closes_is_killed_and_what_ended_is_not(
    sleeper: Callable[[], subprocess.Popen[bytes]],
) -> None:
    running, ended = sleeper(), sleeper()
    reaper = Reaper()
    for process in (running, ended):
        reaper.watch(process.pid)
    reaper.forget(ended.pid)
    reaper.close()
    assert (running.wait(), ended.poll()) == (-signal.SIGKILL, None)


def test_a_reaper_that_was_killed_is_replaced_by_one_that_knows_all(
    sleeper: Callable[[], subprocess.Popen[bytes]],
) -> None:
    first, second = sleeper(), sleeper()
    reaper = Reaper()
    reaper.watch(first.pid)
    assert reaper.process
    os.kill(reaper.process.pid, signal.SIGKILL)
    reaper.process.wait()
    reaper.watch(second.pid)
    reaper.close()
    assert (first.wait(), second.wait()) == (-signal.SIGKILL, -signal.SIGKILL)
