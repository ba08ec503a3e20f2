"""What passes between the stages. All of it is frozen, and none of it is secret."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

State = Literal["converted", "skipped", "failed", "not_started", "interrupted"]
NodeKind = Literal["spot", "dedicated"]


@dataclass(frozen=True, slots=True)
class Source:
    """A file to convert. `location` is an absolute path or `az://container/blob`."""

    name: str  # relative, with forward slashes: outputs mirror it
    location: str
    size_bytes: int
    version: str  # changes when the content may have: time of change, or a blob's hash


@dataclass(frozen=True, slots=True)
class Conversion:
    """One source on its way to one output, by one preset."""

    key: str  # 32 hex digits: content, output name and the preset's arguments
    source: Source
    content: str  # hash of the content, in hex
    output: str  # the blob's name in the output container
    preset: str  # by name, of those that the run converts to
    seconds: float | None = None  # that the output must have; None where the source does not say
    arguments: tuple[str, ...] = ()  # ffmpeg's, for what this source has, beside the preset's


@dataclass(frozen=True, slots=True)
class Refusal:
    """A source that cannot be converted, known before anything was made for it."""

    source: Source
    reason: str
    output: str | None = None
    preset: str | None = None  # None: it cannot be converted by any


@dataclass(frozen=True, slots=True)
class Plan:
    """Every source is in exactly one of the three, for each preset."""

    pending: tuple[Conversion, ...]
    done: tuple[Conversion, ...]
    refused: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class Ticket:
    """The names under which a run works, and until when."""

    run_id: str  # 32 hex digits
    lock_id: str  # 16 hex digits: the same for all runs into one output
    job_id: str
    pool_id: str
    owns_pool: bool
    started_at: datetime
    deadline: datetime


@dataclass(frozen=True, slots=True)
class BatchResult:
    """How far one batch task came, as Batch tells it."""

    key: str
    attempt: int
    state: Literal["succeeded", "failed", "running"]
    exit_code: int | None = None
    code: str = ""  # of the failure, as in Batch's documentation
    message: str = ""
    node: str | None = None
    tries: int = 1
    seconds: float | None = None
    added_at: datetime | None = None  # to the job
    started_at: datetime | None = None  # its last try, and
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """When something began and ended; None: it has not."""

    name: str
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class NodeLife:
    """A node's life, as far as it was seen."""

    id: str
    kind: NodeKind
    allocated_at: datetime
    seen_at: datetime  # last
    ready_at: datetime | None = None  # first
    gone_at: datetime | None = None  # while its pool lived on
    start_tasks: tuple[Span, ...] = ()  # one for each time it booted
    outages: tuple[Span, ...] = ()  # "evicted" and "unusable"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why a run ended before all of its files did."""

    code: str
    summary: str
    detail: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Check:
    """A row of the table of what a run needs of its accounts."""

    what: str
    state: Literal["passed", "failed", "unchecked"] = "passed"
    detail: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What an output blob says of itself; all but the size is empty on one that is not ours."""

    key: str
    location: str
    size_bytes: int = 0
    preset: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the run's containers say of its conversions."""

    sizes: Mapping[str, int]  # in bytes, of the outputs that are there under their key, by key
    seconds: Mapping[str, float]  # written, by key
    tails: Mapping[str, str]  # the end of what a failed batch task printed, by its id


@dataclass(frozen=True, slots=True)
class FileResult:
    """A row of the report."""

    source: str
    preset: str
    output: str | None
    state: State
    reason: str | None = None
    attempts: int = 0
    node: str | None = None
    exit_code: int | None = None
    seconds: float | None = None
    source_seconds: float | None = None
    output_seconds: float | None = None
    output_bytes: int | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    key: str | None = None  # of its conversion
    cost: float | None = None  # its part of what the nodes cost; None without a price
