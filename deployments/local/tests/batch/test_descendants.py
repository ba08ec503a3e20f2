"""Processes that leave the session and the group of their task end with the task all the same."""

import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from azure.batch import models as m

from lab import FaultOrders, Lab, serve, until
from local_azure.batch.reaper import end_processes
from processes import Program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
DETACHED = {
    "in its own session": "setsid sh -c 'echo $$ >> {pids}; exec sleep 987'",
    "forked twice": (
        'setsid sh -c \'(trap "" TERM HUP; exec sh -c "echo \\$\\$ >> {pids}; exec sleep 987") &\''
    ),
    "without environment": "env -i setsid sh -c 'echo $$ >> {pids}; exec /bin/sleep 987'",
    "without outputs": "setsid sh -c 'echo $$ >> {pids}; exec sleep 987' </dev/null >&0 2>&0",
}
End = Callable[[Lab, str, str, str], object]
ENDS: dict[str, End] = {
    "terminated": lambda lab, _pool, job, task: lab.client.terminate_task(job, task),
    "task deleted": lambda lab, _pool, job, task: lab.client.delete_task(job, task),
    "job terminated": lambda lab, _pool, job, _task: lab.send("POST", f"/jobs/{job}/terminate"),
    "job deleted": lambda lab, _pool, job, _task: lab.client.begin_delete_job(job),
    "pool deleted": lambda lab, pool, _job, _task: lab.client.begin_delete_pool(pool),
}


def written(pids: Path, count: int = 1) -> list[int]:
    """Wait until `count` processes have written their ids, and return them."""
    until(lambda: pids.exists() and len(pids.read_text().split()) == count)
    return [int(pid) for pid in pids.read_text().split()]


def runs(pid: int) -> bool:
    """Return whether a process runs. A killed one may exist until its new parent notices."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def all_ended(pids: list[int]) -> bool:
    return not any(map(runs, pids))


@pytest.mark.parametrize("script", DETACHED.values(), ids=DETACHED)
def test_no_process_outlives_a_task_that_is_completed(
    lab: Lab, pool: str, tmp_path: Path, script: str
) -> None:
    pids = tmp_path / "pids"
    script = f"{script.format(pids=pids)} & until [ -s {pids} ]; do sleep 0.01; done"
    assert lab.run(pool, script).execution_info.exit_code == 0
    assert all_ended(written(pids))


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_no_process_outlives_a_task_that_is_ended(
    lab: Lab, pool: str, tmp_path: Path, end: End
) -> None:
    job, pids = lab.job(pool), tmp_path / "pids"
    scripts = (script.format(pids=pids) for script in DETACHED.values())
    task = lab.task(job, " & ".join([*scripts, "exec sleep 987"]))
    running = written(pids, count=len(DETACHED))
    end(lab, pool, job, task)
    until(lambda: all_ended(running))


def test_no_process_outlives_a_task_that_takes_too_long(
    lab: Lab, pool: str, faults: FaultOrders, tmp_path: Path
) -> None:
    faults.stop_clock()
    job, pids = lab.job(pool), tmp_path / "pids"
    limit = m.BatchTaskConstraints(max_wall_clock_time=timedelta(seconds=0.1))
    script = DETACHED["in its own session"].format(pids=pids)
    task = lab.task(job, f"{script} & sleep 987", constraints=limit)
    running = written(pids)
    faults.start_clock()
    lab.completed(job, task)
    assert all_ended(running)


def test_the_end_of_one_task_ends_no_process_of_another(
    lab: Lab, pool: str, tmp_path: Path
) -> None:
    job, pids = lab.job(pool), tmp_path / "pids"
    script = DETACHED["in its own session"].format(pids=pids)
    lab.task(job, f"{script} & exec sleep 987", id="task-1")
    running = written(pids)
    lab.completed(job, lab.task(job, "true", id="task-10"))
    lab.completed(job, lab.task(job, "true", id="task"))
    assert all(map(runs, running))


def test_no_process_outlives_a_start_task(lab: Lab, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = DETACHED["in its own session"].format(pids=pids)
    start = m.BatchStartTask(
        command_line=f'/bin/sh -c "{script} & until [ -s {pids} ]; do sleep 0.01; done"',
        wait_for_success=True,
    )
    lab.pool(start_task=start)
    assert all_ended(written(pids))


def test_no_process_outlives_the_service(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with serve(tmp_path / "data") as lab:
        script = DETACHED["in its own session"].format(pids=pids)
        lab.task(lab.job(lab.pool()), f"{script} & exec sleep 987")
        running = written(pids)
    assert all_ended(running)


def test_no_process_outlives_a_service_that_is_killed(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from lab import serve
pids, data = map(Path, sys.argv[1:])
with serve(data) as lab:
    detached = f"setsid sh -c 'echo $$ >> {pids}; exec sleep 987' & exec sleep 987"
    lab.task(lab.job(lab.pool()), detached)
    print("started", flush=True)
    sys.stdin.read()
"""
    support = Path(__file__).parents[1] / "support"
    pids = tmp_path / "pids"
    (tmp_path / "program.py").write_text(f"import sys\nsys.path.append({str(support)!r})\n{script}")
    program = Program(tmp_path / "program.py", pids, tmp_path / "data", cwd=tmp_path)
    program.wait_until("started")
    running = written(pids)
    program.send(signal.SIGKILL)
    program.end()
    until(lambda: all_ended(running))


def test_a_process_with_a_similar_environment_or_output_stays(tmp_path: Path) -> None:
    task, other = tmp_path / "task", tmp_path / "task-1"
    task.mkdir()
    for place in (task / "other.txt", tmp_path / "stdout.txt"):
        with place.open("wb") as output:
            environment = {"AZ_BATCH_TASK_DIR": str(other), "X": f"AZ_BATCH_TASK_DIR={task}"}
            process = subprocess.Popen(["/bin/sleep", "987"], env=environment, stdout=output)
        until(lambda pid=process.pid: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")
        end_processes({str(task)})
        assert process.poll() is None
        end_processes({str(other)})
        assert process.wait() == -signal.SIGKILL
