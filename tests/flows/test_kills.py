"""Runs that a signal ends: the same command, run again, completes the work.

CI sends each signal in one stage. All other stages and 20 random moments are marked slow. KILL_SEED
chooses other moments:
    KILL_SEED=7 .venv/bin/pytest -m slow tests/flows/test_kills.py
"""

import contextlib
import os
import pty
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from programs import CONVERT
from scenes import STAGES, Scene

STATUS = {signal.SIGHUP: 129, signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}
SAMPLE = {
    (signal.SIGHUP, "uploads"),
    (signal.SIGINT, "job"),
    (signal.SIGTERM, "converting"),
    (signal.SIGKILL, "submission"),
}
IN_TERMINAL = """
import fcntl, os, signal, sys, termios
os.setsid()
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
MOMENTS = 20
RANDOM = random.Random(int(os.environ.get("KILL_SEED", "1")))  # noqa: S311  not a secret


def send(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Send SIGINT to the process group, as a terminal does, and other signals to the process.

    The run may have ended before.
    """
    with contextlib.suppress(ProcessLookupError):
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)


def check_death(process: subprocess.Popen[str], number: signal.Signals, scene: Scene) -> None:
    """Check that the run ended within a minute with an error and left nothing that costs money.

    The run may also have ended before the signal.
    """
    rest, _ = process.communicate(timeout=60)
    assert "Traceback" not in rest
    assert process.returncode in (0, STATUS[number])
    if number == signal.SIGKILL:
        scene.check_batch_tasks()
    else:
        assert scene.left_in_batch() == set()
    if process.returncode in (129, 130, 143):
        words = "interrupted|terminated|the terminal was closed"
        assert re.search(rf"^error: ({words})\. [A-Z].*\.$", rest, re.MULTILINE)


def rerun(scene: Scene) -> None:
    rest, _ = scene.start().communicate(timeout=150)
    assert re.search(
        r"^(\d+ converted|\d+ skipped|\d+ converted, \d+ skipped) in", rest, re.MULTILINE
    ), rest
    scene.check_end()


@pytest.mark.parametrize(
    ("number", "stage"),
    [
        pytest.param(number, stage, marks=[] if (number, stage) in SAMPLE else pytest.mark.slow)
        for number in STATUS
        for stage in STAGES
    ],
    ids=lambda value: value.name if isinstance(value, signal.Signals) else value,
)
def test_after_a_signal_in_a_stage_the_same_command_completes_and_leaves_only_the_outputs(
    scene: Scene, number: signal.Signals, stage: str
) -> None:
    process = scene.start()
    scene.wait_for(process, STAGES[stage])
    send(process, number)
    check_death(process, number, scene)
    rerun(scene)


def test_a_closed_terminal_ends_the_run_with_its_pool_and_job(
    scene: Scene, account: dict[str, str], containers: tuple[str, str], tmp_path: Path
) -> None:
    terminal, inner = pty.openpty()
    flags = ("--container", containers[0], "--cleanup.container", containers[1])
    process = subprocess.Popen(
        [sys.executable, "-c", IN_TERMINAL, *CONVERT, scene.source, *flags],
        cwd=tmp_path,
        env=os.environ | account,
        stdin=inner,
        stdout=inner,
        stderr=inner,
    )
    os.close(inner)
    printed = b""
    while not (job := re.search(rb"Created the job (\S+)\r\n", printed)):
        printed += os.read(terminal, 1024)
    scene.wait_for_batch_tasks(job[1].decode(), "running", least=1)
    os.close(terminal)
    assert process.wait(60) == STATUS[signal.SIGHUP]
    assert scene.left_in_batch() == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "after_seconds"),
    [(RANDOM.choice(list(STATUS)), RANDOM.uniform(0.1, 10)) for _ in range(MOMENTS)],
)
def test_after_a_signal_at_a_random_moment_the_same_command_completes_and_leaves_only_the_outputs(
    scene: Scene, number: signal.Signals, after_seconds: float
) -> None:
    process = scene.start()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=after_seconds)
    send(process, number)
    check_death(process, number, scene)
    rerun(scene)
