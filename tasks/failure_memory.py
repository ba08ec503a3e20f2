"""What is remembered of sources at fault, how long it counts, and when it is forgotten.

An entry is forgotten after 30 days, or when another runner or another ffmpeg might do better. Which
ffmpeg the nodes will have is not known before there are nodes. So an entry counts as long as nodes
get ffmpeg from where they got it then, and until a run sees another version on such nodes.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from tasks.models import Conversion, KnownFailure
from tasks.parameters import Request

LIFE = timedelta(days=30)
MOST_ENTRIES = 20_000  # about 10 MB
LONGEST_REASON = 400  # characters


class Entry(BaseModel):
    """One source at fault."""

    model_config = ConfigDict(frozen=True)

    reason: str
    failed_at: AwareDatetime
    runner: str  # version of runner.sh
    origin: str  # where the node got its ffmpeg
    ffmpeg: str  # version of its libavformat; "": unknown


class Memory(BaseModel):
    """All sources at fault of one output, by the keys of their conversions."""

    model_config = ConfigDict(frozen=True)

    version: Literal[1] = 1
    failures: dict[str, Entry] = {}


@dataclass(frozen=True, slots=True)
class Tools:
    """What converts in a run, as far as it is known before there are nodes."""

    runner: str
    origin: str


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a run teaches about sources."""

    tools: Tools
    at: datetime
    failures: Mapping[str, Entry]  # by key
    converted: Collection[str] = ()  # keys
    ffmpeg_versions: frozenset[str] = frozenset()  # that were seen on nodes


def ffmpeg_origin(request: Request) -> str:
    """Return where the nodes get ffmpeg."""
    if request.pool.id:
        return f"pool {request.pool.id}"
    node = request.node
    return " ".join(filter(None, (node.image, node.agent, node.ffmpeg)))


def shortened(reason: str) -> str:
    is_long = len(reason) > LONGEST_REASON
    return f"{reason[: LONGEST_REASON - 1]}…" if is_long else reason


def is_valid(entry: Entry, tools: Tools, *, now: datetime) -> bool:
    """Return whether a run with these tools would fail again, as far as it is known."""
    is_same = (entry.runner, entry.origin) == (tools.runner, tools.origin)
    return is_same and now - entry.failed_at < LIFE


def split_known(
    conversions: Iterable[Conversion], memory: Memory, tools: Tools, *, now: datetime
) -> tuple[tuple[KnownFailure, ...], tuple[Conversion, ...]]:
    """Return the known failures, and the conversions to try."""
    known, untried = [], []
    for conversion in conversions:
        entry = memory.failures.get(conversion.key)
        if entry and is_valid(entry, tools, now=now):
            known.append(KnownFailure(conversion, entry.reason, entry.failed_at))
        else:
            untried.append(conversion)
    return tuple(known), tuple(untried)


def updated(memory: Memory, lesson: Lesson) -> Memory:
    """Return the memory with what a run teaches, and without what no longer counts."""
    kept = {k: e for k, e in memory.failures.items() if is_kept(k, e, lesson)}
    newest = sorted((kept | dict(lesson.failures)).items(), key=lambda item: item[1].failed_at)
    return Memory(failures=dict(newest[-MOST_ENTRIES:]))


def is_kept(key: str, entry: Entry, lesson: Lesson) -> bool:
    """Return whether to keep an entry after a run. Entries of other origins may still count."""
    is_current = entry.runner == lesson.tools.runner and lesson.at - entry.failed_at < LIFE
    return is_current and key not in lesson.converted and not is_outdated(entry, lesson)


def is_outdated(entry: Entry, lesson: Lesson) -> bool:
    """Return whether nodes of the same origin have another ffmpeg now, if both are known."""
    are_known = bool(entry.ffmpeg and lesson.ffmpeg_versions)
    is_same_origin = entry.origin == lesson.tools.origin
    return are_known and is_same_origin and entry.ffmpeg not in lesson.ffmpeg_versions
