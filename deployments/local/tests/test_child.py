"""A child ends with its parent. A pipe stays open while any of its processes lives."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from local_azure.child import start_child, stop_child

PARENT = """
import os, sys
from pathlib import Path
from local_azure.child import start_child
command = ["/bin/sh", "-c", sys.argv[1]]
start_child(command, log=sys.stdout.buffer, folder=Path("/"), environment=os.environ)
sys.stdin.read()
"""
STAYS = "echo started; exec sleep 600"
STAYS_WITH_A_CHILD = "(echo started; sleep 600) & wait"
IGNORES_SIGTERM = "trap '' TERM; echo started; while true; do sleep 600; done"


@contextmanager
def child(
    script: str, *, grace_seconds: float = 5
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as output:
        with os.fdopen(write, "wb") as log:
            process = start_child(
                ["/bin/sh", "-c", script],
                log=log,
                folder=Path("/"),
                environment=os.environ,
                grace_seconds=grace_seconds,
            )
        try:
            yield process, output
        finally:
            stop_child(process)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("script", [STAYS, STAYS_WITH_A_CHILD], ids=["alone", "with-a-child"])
def test_a_child_and_its_own_children_end_when_the_parent_is_killed(
    script: str, number: signal.Signals
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == b"started\n"
        parent.send_signal(number)
        assert parent.stdout.read() == b""


def test_a_child_is_out_of_reach_of_its_parents_process_group() -> None:
    with child("echo $$; exec sleep 600") as (process, output):
        assert len({os.getpgrp(), os.getpgid(process.pid), os.getpgid(int(output.readline()))}) == 3


def test_a_child_that_ignores_sigterm_is_killed_after_its_grace() -> None:
    with child(IGNORES_SIGTERM, grace_seconds=0.1) as (process, output):
        assert output.readline() == b"started\n"
        assert stop_child(process) == 128 + signal.SIGKILL
        assert output.read() == b""


def test_processes_that_a_child_leaves_behind_end_with_it() -> None:
    with child("sleep 600 & echo started") as (process, output):
        assert process.wait() == 0
        assert output.read() == b"started\n"


@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("kill -9 $$", 128 + 9)])
def test_a_childs_exit_status_is_passed_on(script: str, status: int) -> None:
    with child(script) as (process, _):
        assert process.wait() == status
