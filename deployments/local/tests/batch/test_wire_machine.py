"""Random histories of tasks: none is lost, run twice in parallel, or overcommitted."""

import logging
import shlex
import sys
from typing import ClassVar

import pytest
from azure.batch import models as m
from azure.core.exceptions import HttpResponseError
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from lab import Lab

SLOTS = 2
HOLD = """
import fcntl, os, signal, sys, time

signal.signal(signal.SIGTERM, signal.SIG_IGN)

def held(path):
    file = open(path, "w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    return file

slots, total, code = map(int, sys.argv[1:])
root = os.environ["AZ_BATCH_NODE_ROOT_DIR"]
own = held(f"{root}/../own-{os.environ['AZ_BATCH_TASK_ID']}")
taken = []
for n in range(total):
    if len(taken) < slots and (slot := held(f"{root}/slot-{n}")):
        taken.append(slot)
time.sleep(0.1)
if not own or len(taken) < slots:
    open(f"{root}/../clash", "w").close()
sys.exit(code)
"""
"""A task that ignores SIGTERM, locks itself and its slots, and reports a clash."""


class Histories(RuleBasedStateMachine):
    lab: ClassVar[Lab]

    def __init__(self) -> None:
        super().__init__()
        self.pool = self.lab.pool(1, task_slots_per_node=SLOTS)
        self.job = self.lab.job(
            self.pool, constraints=m.BatchJobConstraints(max_task_retry_count=1)
        )
        self.tasks: dict[str, int] = {}

    @rule(slots=st.lists(st.integers(1, SLOTS), min_size=1, max_size=4), code=st.integers(0, 1))
    def add(self, slots: list[int], code: int) -> None:
        for size in slots:
            numbers = [str(number) for number in (size, SLOTS, code)]
            command = shlex.join([sys.executable, "-S", "-c", HOLD, *numbers])
            task_id = self.lab.task(self.job, command_line=command, required_slots=size)
            self.tasks[task_id] = code

    @rule(nodes=st.integers(0, 3))
    def resize(self, nodes: int) -> None:
        options = m.BatchPoolResizeOptions(target_low_priority_nodes=nodes)
        self.lab.client.begin_resize_pool(self.pool, options, polling_interval=0).wait()

    @rule()
    def evict(self) -> None:
        for node in list(self.lab.client.list_nodes(self.pool))[:1]:
            order = {"kind": "evict", "pool": self.pool, "node": node.id}
            self.lab.send("POST", "/_local/faults", json=order)

    @rule()
    def disable_and_enable(self) -> None:
        self.lab.client.begin_disable_job(
            self.job, m.BatchJobDisableOptions(disable_tasks="requeue"), polling_interval=0
        ).wait()
        self.lab.client.begin_enable_job(self.job, polling_interval=0).wait()

    @rule(data=st.data())
    def terminate(self, data: st.DataObject) -> None:
        if self.tasks:
            task_id = data.draw(st.sampled_from(sorted(self.tasks)))
            try:
                self.lab.client.terminate_task(self.job, task_id)
            except HttpResponseError as error:
                assert error.error.code == "TaskCompleted"  # noqa: PT017  it may have ended
            else:
                self.tasks[task_id] = -1

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        if self.tasks:
            task_id = data.draw(st.sampled_from(sorted(self.tasks)))
            self.lab.client.delete_task(self.job, task_id)
            del self.tasks[task_id]

    @invariant()
    def every_task_is_counted_once(self) -> None:
        counts = self.lab.client.get_job_task_counts(self.job).task_counts
        assert counts.active + counts.running + counts.completed == len(self.tasks)
        assert counts.succeeded + counts.failed == counts.completed

    def teardown(self) -> None:
        client = self.lab.client
        self.resize(2)
        codes = {each: self.lab.completed(self.job, each).execution_info for each in self.tasks}
        for task_id, info in codes.items():
            expected = {-1: (None,)}.get(self.tasks[task_id], (self.tasks[task_id],))
            assert info.exit_code in expected, (task_id, info.as_dict())
        assert not (self.lab.data / self.pool / "clash").exists()
        client.begin_delete_job(self.job, polling_interval=0).wait()
        client.begin_delete_pool(self.pool, polling_interval=0).wait()


@pytest.mark.filterwarnings("default::hypothesis.errors.HypothesisWarning")
def test_no_history_loses_a_task_or_runs_it_twice_in_parallel(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    Histories.lab = lab
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=6,
            stateful_step_count=10,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    # The service logs transitions that are not allowed.
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []
