"""The critical path: the chain of steps that determined how long a run took."""

from itertools import pairwise
from typing import Any

from records import a_node, a_span, a_task_on_node, a_timeline, at

from tasks.completion import watch_completion
from tasks.job import make_job
from tasks.pool import make_pool
from tasks.results.lanes import COMPLETION, JOB, POOL, SUBMIT
from tasks.results.picture import FOLDER
from tasks.submission import submit_wave

STAGES = [
    a_span("plan", 0, 1),
    a_span("pool", 1, 2),
    a_span("job", 2, 3),
    a_span("upload wave 1", 3, 4),
    a_span("submit wave 1", 4, 5),
    a_span("upload wave 2", 5, 54),
    a_span("submit wave 2", 54, 55),
    a_span("completion", 3, 82),
    a_span("outputs", 82, 83),
    a_span("cleanup", 83, 84),
]


def path(**record: Any) -> list[str]:
    found = a_timeline(spans=STAGES, until=84, **record).path
    assert all(one.end <= other.start for one, other in pairwise(found))
    return [step.name if step.kind in ("stage", "file") else step.kind for step in found]


def test_the_path_goes_through_nodes_that_boot_slowly() -> None:
    batch_results = [
        a_task_on_node("a", 50, 60),
        a_task_on_node("b", 50, 55),
        a_task_on_node("c", 60, 80),
    ]
    assert path(nodes=[a_node()], batch_results=batch_results) == [
        "plan",
        "pool",
        "boot",
        "start_task",
        "a-1",
        "c-1",
        "completion",
        "outputs",
        "cleanup",
    ]


def test_the_path_goes_through_slow_uploads() -> None:
    batch_results = [a_task_on_node("a", 50, 52), a_task_on_node("b", 55.5, 80, added_at=at(54.9))]
    assert path(nodes=[a_node()], batch_results=batch_results) == [
        *("plan", "pool", "job", "upload wave 1", "submit wave 1", "upload wave 2"),
        *("submit wave 2", "b-1", "completion", "outputs", "cleanup"),
    ]


def test_the_path_goes_through_an_eviction() -> None:
    starts = (a_span("start task", 32, 50), a_span("start task", 65, 70))
    node = a_node(start_tasks=starts, outages=(a_span("evicted", 52, 60),))
    assert path(nodes=[node], batch_results=[a_task_on_node("a", 71, 80)]) == [
        *("plan", "pool", "boot", "start_task", "evicted", "boot", "start_task", "a-1"),
        *("completion", "outputs", "cleanup"),
    ]


def test_without_nodes_the_path_goes_through_completion() -> None:
    assert path() == ["plan", "pool", "job", "completion", "outputs", "cleanup"]


def test_the_time_after_the_last_file_belongs_to_completion() -> None:
    found = a_timeline(
        spans=STAGES, until=84, nodes=[a_node()], batch_results=[a_task_on_node("a", 50, 80)]
    ).path
    (watching,) = (step for step in found if step.name == "completion")
    assert (watching.start, watching.end) == (80, 82)


def test_stages_are_found_by_the_names_of_their_runs() -> None:
    for stage, name in ((make_pool, POOL), (make_job, JOB), (watch_completion, COMPLETION)):
        assert stage.task.task_run_name == name
    assert str(submit_wave.task.task_run_name).startswith(SUBMIT)


def test_the_picture_knows_the_name_of_the_stage_that_watches() -> None:
    assert f'"{COMPLETION}"' in (FOLDER / "picture.js").read_text()
