"""The reaper, which kills processes on nodes after the service was killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from local_azure.batch.reaper import Reaper
from processes import all_end


@pytest.fixture
def sleeper() -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Yield a function that starts a process in a group of its own."""
    with ExitStack() as started:

        def start() -> subprocess.Popen[bytes]:
            process = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True)
            started.enter_context(process)
            started.callback(process.kill)
            return process

        yield start


def test_groups_that_run_when_the_pipe_closes_are_killed_and_ended_ones_are_not(
    sleeper: Callable[[], subprocess.Popen[bytes]],
) -> None:
    running, ended = sleeper(), sleeper()
    reaper = Reaper()
    tickets = {}
    for process in (running, ended):
        tickets[process], *_ = reaper.expect()
        reaper.watch(tickets[process], process.pid, "")
    reaper.forget(tickets[ended])
    reaper.close()
    assert (running.wait(), ended.poll()) == (-signal.SIGKILL, None)


def test_a_killed_reaper_is_replaced_by_one_that_knows_every_group(
    sleeper: Callable[[], subprocess.Popen[bytes]],
) -> None:
    first, second = sleeper(), sleeper()
    reaper = Reaper()
    reaper.watch(1, first.pid, "")
    assert reaper.process
    os.kill(reaper.process.pid, signal.SIGKILL)
    reaper.process.wait()
    reaper.watch(2, second.pid, "")
    reaper.close()
    assert (first.wait(), second.wait()) == (-signal.SIGKILL, -signal.SIGKILL)


def test_a_process_whose_service_is_killed_as_it_starts_is_killed_too(tmp_path: Path) -> None:
    """The process kills its service before it writes to the reaper and executes its command."""
    script = """
import subprocess, sys
from local_azure.batch.reaper import Reaper
_, words, pipe = Reaper().expect()
kill_first = ["/bin/sh", "-c", 'kill -9 $PPID; exec "$@"', "sh"]
command = [*kill_first, *words, "tail", "-f", sys.argv[1]]
subprocess.Popen(command, start_new_session=True, stdin=pipe).wait()
"""
    watched = tmp_path / "watched"
    watched.touch()
    ended = subprocess.run([sys.executable, "-c", script, watched], cwd=tmp_path, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert all_end(watched)
