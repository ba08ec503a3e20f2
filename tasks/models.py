"""The data that stages pass to each other: frozen dataclasses without secrets."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

State = Literal["converted", "skipped", "failed", "not_started", "interrupted"]
NodeKind = Literal["spot", "dedicated"]


@dataclass(frozen=True, slots=True)
class Source:
    """A file to convert. `location` is an absolute path or `az://container/blob`."""

    name: str  # relative path with forward slashes; the output mirrors it
    location: str
    size_bytes: int
    version: str  # changes with the content: modification time of a file, hash of a blob


@dataclass(frozen=True, slots=True)
class Conversion:
    """One source that one preset converts to one output."""

    key: str  # 32 hex digits: hash of content, output name and preset arguments
    source: Source
    content: str  # hash of the source's content, in hex
    output: str  # name of the blob in the output container
    preset: str  # name
    seconds: float | None = None  # expected length of the output; None if the source has no length
    arguments: tuple[str, ...] = ()  # of ffmpeg, for this source, in addition to the preset's


@dataclass(frozen=True, slots=True)
class Refusal:
    """A source that cannot be converted, found before its batch task was made."""

    source: Source
    reason: str
    output: str | None = None
    preset: str | None = None  # None: no preset can convert it


@dataclass(frozen=True, slots=True)
class Plan:
    """The conversions of a run. Each source, by each preset, is in exactly one of the three."""

    pending: tuple[Conversion, ...]
    done: tuple[Conversion, ...]
    refused: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class Ticket:
    """The identity of a run: its names in Azure and its deadline."""

    run_id: str  # 32 hex digits
    lock_id: str  # 16 hex digits; equal for all runs with the same output container and prefix
    output_container: str  # which contains the lock
    job_id: str
    pool_id: str
    owns_pool: bool
    started_at: datetime
    deadline: datetime


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The state of one batch task in Batch's listing."""

    key: str
    attempt: int
    state: Literal["succeeded", "failed", "running"]
    exit_code: int | None = None
    code: str = ""  # error code of the failure, from Batch's documentation
    message: str = ""
    node: str | None = None
    tries: int = 1
    seconds: float | None = None  # of the last try
    added_at: datetime | None = None  # when it was added to the job
    started_at: datetime | None = None  # start of the last try
    ended_at: datetime | None = None  # end of the last try


@dataclass(frozen=True, slots=True)
class Span:
    """A named interval of time. It has no end while it lasts."""

    name: str
    started_at: datetime
    ended_at: datetime | None
    is_failed: bool = False  # a stage that raised an error


@dataclass(frozen=True, slots=True)
class NodeLife:
    """The history of a node, from repeated listings."""

    id: str
    kind: NodeKind
    allocated_at: datetime
    seen_at: datetime  # in the latest listing that has it
    ready_at: datetime | None = None  # when it was ready for the first time
    gone_at: datetime | None = None  # when it disappeared from a pool that still exists
    start_tasks: tuple[Span, ...] = ()  # one for each boot
    outages: tuple[Span, ...] = ()  # named "evicted" or "unusable"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The reason why a run ends early or waits, and what to do about it."""

    code: str
    summary: str
    detail: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Check:
    """One requirement of a run on its accounts, and whether they meet it."""

    what: str
    state: Literal["passed", "failed", "unchecked"] = "passed"
    detail: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Stamp:
    """The metadata of an output blob. A blob of another origin has only a size."""

    key: str
    location: str
    size_bytes: int = 0
    preset: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the run's containers prove about its conversions."""

    sizes: Mapping[str, int]  # bytes of each output that exists with its key, by key
    seconds: Mapping[str, float]  # length that was written to the output, by key
    tails: Mapping[str, str]  # last lines that a failed batch task printed, by batch task id


@dataclass(frozen=True, slots=True)
class FileResult:
    """The result of one source by one preset: a row of the report."""

    source: str  # name of the source
    preset: str
    output: str | None  # name of the output blob; None if the source has none
    state: State
    reason: str | None = None  # why it is not converted; None if it is
    attempts: int = 0  # tries of all its batch tasks
    node: str | None = None  # id of the node of the last try
    exit_code: int | None = None  # of the last try
    seconds: float | None = None  # duration of the last try, transfers on the node included
    source_seconds: float | None = None  # length of the media
    output_seconds: float | None = None  # length that was written
    output_bytes: int | None = None
    started_at: datetime | None = None  # start of the last try
    ended_at: datetime | None = None  # end of the last try
    key: str | None = None  # of its conversion
    cost: float | None = None  # its share of the cost of the nodes; None without a price

    @property
    def output_or_reason(self) -> str:
        """The output if there is one, otherwise the reason why there is none."""
        exists = self.state in ("converted", "skipped")
        return (self.output if exists else self.reason) or ""
