"""Short makers of the data that stages pass to each other."""

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tasks.media.presets import PRESETS, Preset
from tasks.media.verification import Verified
from tasks.models import BatchResult, Conversion, Evidence, NodeLife, Plan, Source, Span, Ticket
from tasks.naming import conversion_key
from tasks.parameters import Cleanup, Output, Pool, Request
from tasks.results.ledger import Ledger
from tasks.results.timeline import Record, Timeline, build_timeline

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MP3 = PRESETS["mp3"]


def a_source(name: str = "a.mp4", **values: Any) -> Source:
    """Return a source in /library."""
    given = {"location": f"/library/{name}", "size_bytes": 7, "version": "1"}
    return Source(name, **(given | values))


def a_file(path: Path, content: bytes = b"content") -> Source:
    """Create a file, and return it as a source."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    found = path.stat()
    return Source(path.name, str(path), found.st_size, str(found.st_mtime_ns))


def a_conversion(
    source: Source | None = None,
    *,
    content: str = "c0",
    output: str = "",
    preset: Preset = MP3,
    **values: Any,
) -> Conversion:
    """Return a conversion with its correct key, by default to MP3."""
    source = source or a_source()
    output = output or f"{source.name.rpartition('.')[0]}{preset.suffix}"
    key = conversion_key(content, output, preset)
    return Conversion(key, source, content, output, preset.name, **values)


def a_ticket(*, now: datetime | None = None, **values: Any) -> Ticket:
    """Return the ticket of a new run that has one minute until its deadline."""
    now = now or datetime.now(UTC)
    run_id = uuid.uuid4().hex
    given = {
        "run_id": run_id,
        "lock_id": run_id[:16],
        "output_container": "output",
        "job_id": f"convert-1-{run_id}",
        "pool_id": f"convert-1-{run_id}",
        "owns_pool": True,
        "started_at": now,
        "deadline": now + timedelta(minutes=1),
    }
    return Ticket(**(given | values))


def a_pool(**values: Any) -> Pool:
    """Return a pool with two slots on each node, as a run has decided it."""
    return Pool(**({"slots_per_node": 2} | values))


def a_request(containers: tuple[str, str] = ("output", "input"), **values: Any) -> Request:
    """Return a request for one folder, with containers for outputs and for uploads.

    The run has decided on the slots.
    """
    output = Output(container=containers[0], **values.pop("output", {}))
    cleanup = Cleanup(container=containers[1], **values.pop("cleanup", {}))
    pool = values.pop("pool", None) or a_pool()
    return Request(sources=["/library"], output=output, cleanup=cleanup, pool=pool, **values)


ONE = a_conversion(seconds=3.5)


def proof_of(*conversions: Conversion) -> Evidence:
    """Return the evidence that these conversions have their outputs."""
    keys = [conversion.key for conversion in conversions]
    return Evidence(dict.fromkeys(keys, 9), dict.fromkeys(keys, Verified(3.4)), {})


def a_plan(*pending: Conversion, **parts: Any) -> Plan:
    """Return a plan of these conversions, by default with none done or refused."""
    return Plan(**({"pending": pending, "done": (), "refused": ()} | parts))


def a_ledger(**values: Any) -> Ledger:
    """Return the ledger of a run that has ONE to convert and no results yet."""
    given_values = {
        "plan": a_plan(ONE),
        "request": a_request(),
        "ticket": a_ticket(now=NOW),
        "evidence": Evidence({}, {}, {}),
    }
    return Ledger(**(given_values | values))


def a_batch_result(state: Any, **values: Any) -> BatchResult:
    """Return the result of a batch task for ONE."""
    return BatchResult(ONE.key, values.pop("attempt", 1), state, **values)


def at(seconds: float) -> datetime:
    """Return a moment in seconds after NOW, when runs start."""
    return NOW + timedelta(seconds=seconds)


def a_span(name: str, start: float, end: float | None) -> Span:
    return Span(name, at(start), None if end is None else at(end))


def a_node(name: str = "n", **values: Any) -> NodeLife:
    """Return a node that boots from 2 to 32, and runs its start task until 50."""
    given_values = {
        "kind": "spot",
        "allocated_at": at(2),
        "seen_at": at(100),
        "ready_at": at(50),
        "start_tasks": (a_span("start task", 32, 50),),
    }
    return NodeLife(name, **(given_values | values))


def a_task_on_node(key: str, start: float, end: float | None, **values: Any) -> BatchResult:
    """Return the result of a batch task on the node `n`. Without an end, it is running."""
    given_values = {"state": "running" if end is None else "succeeded", "node": "n", "attempt": 1}
    times = {"added_at": at(5), "started_at": at(start), "ended_at": end and at(end)}
    return BatchResult(key, **(given_values | times | values))


def a_timeline(*, until: float = 100, slots: int = 2, **record: Any) -> Timeline:
    """Return the timeline of a run with its own pool."""
    return build_timeline(Record(**record), ticket=a_ticket(now=NOW), slots=slots, now=at(until))
