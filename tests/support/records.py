"""The records that pass between the stages, made with as few words as a test needs."""

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tasks.media.presets import PRESETS, Preset
from tasks.models import BatchResult, Conversion, Evidence, Plan, Source, Ticket
from tasks.naming import conversion_key
from tasks.parameters import Cleanup, Output, Request
from tasks.results.ledger import Ledger

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MP3 = PRESETS["mp3"]


def a_source(name: str = "a.mp4", **values: Any) -> Source:
    """A source below /library."""
    given = {"location": f"/library/{name}", "size_bytes": 7, "version": "1"}
    return Source(name, **(given | values))


def a_file(path: Path, content: bytes = b"content") -> Source:
    """A source that is really there."""
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
    """A conversion, to MP3 if nothing else is said, under its true key."""
    source = source or a_source()
    output = output or f"{source.name.rpartition('.')[0]}{preset.suffix}"
    key = conversion_key(content, output, preset)
    return Conversion(key, source, content, output, preset.name, **values)


def a_ticket(*, now: datetime | None = None, **values: Any) -> Ticket:
    """The ticket of a run that nobody else has, with a minute to go."""
    now = now or datetime.now(UTC)
    run_id = uuid.uuid4().hex
    given = {
        "run_id": run_id,
        "lock_id": run_id[:16],
        "job_id": f"convert-1-{run_id}",
        "pool_id": f"convert-1-{run_id}",
        "owns_pool": True,
        "started_at": now,
        "deadline": now + timedelta(minutes=1),
    }
    return Ticket(**(given | values))


def a_request(containers: tuple[str, str] = ("output", "input"), **values: Any) -> Request:
    """A request for one file, with containers for outputs and for uploads."""
    output = Output(container=containers[0], **values.pop("output", {}))
    cleanup = Cleanup(container=containers[1], **values.pop("cleanup", {}))
    return Request(sources=["/library"], output=output, cleanup=cleanup, **values)


ONE = a_conversion(seconds=3.5)


def there(*conversions: Conversion) -> Evidence:
    """That their outputs are there."""
    keys = [conversion.key for conversion in conversions]
    return Evidence(dict.fromkeys(keys, 9), dict.fromkeys(keys, 3.4), {})


def a_plan(*pending: Conversion, **parts: Any) -> Plan:
    """A plan of these, with nothing done or refused if nothing else is said."""
    return Plan(**({"pending": pending, "done": (), "refused": ()} | parts))


def a_ledger(**values: Any) -> Ledger:
    """The ledger of a run with ONE to convert, of which nothing has come yet."""
    given_values = {
        "plan": a_plan(ONE),
        "request": a_request(),
        "ticket": a_ticket(now=NOW),
        "evidence": Evidence({}, {}, {}),
    }
    return Ledger(**(given_values | values))


def a_batch_result(state: Any, **values: Any) -> BatchResult:
    """Of a batch task for ONE."""
    return BatchResult(ONE.key, values.pop("attempt", 1), state, **values)
