"""The data that stages pass to each other: frozen dataclasses without credentials."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from secrets import token_hex
from types import MappingProxyType
from typing import Literal

from tasks.media.verification import Verified

State = Literal["converted", "skipped", "failed", "not_started", "interrupted"]
# By attempt: the keys of the conversions whose batch task has an excerpt.
Excerpts = Mapping[int, set[str]]
NO_EXCERPTS: Excerpts = MappingProxyType({})
Existing = Literal["none", "current", "earlier", "outdated"]
NodeKind = Literal["spot", "dedicated"]
_PAST_SAMPLE = 1e-6  # seconds: a fraction of a sample, but more than what is rounded


@dataclass(frozen=True, slots=True)
class Source:
    """A file to convert. `location` is an absolute path or `az://container/blob`."""

    name: str  # relative path with forward slashes; the output mirrors it
    location: str
    size_bytes: int
    version: str  # changes with the content: modification time of a file; MD5 or ETag of a blob
    etag: str = ""  # of a blob; changes with every write
    md5: str = ""  # of a blob that has one, in hex


@dataclass(frozen=True, slots=True)
class Extent:
    """Where the sound or the picture of an output starts and ends, as its source declares it."""

    start_seconds: float
    end_seconds: float | None  # None: the source does not declare it
    source_seconds: float | None = None  # then the end of the whole source, if that is declared
    track: int = 0  # number of the stream among those of its kind in the source

    def __str__(self) -> str:
        """Return it as runner.sh reads it: three times, each "-" if unknown, and the track."""
        ends = (self.end_seconds, self.source_seconds)
        times = ("-" if t is None else f"{t:.3f}" for t in ends)
        return " ".join([self.start_text, *times, str(self.track)])

    @property
    def start_text(self) -> str:
        """The start for ffmpeg's filters: to the sample, although they cut off fractions."""
        return f"{self.start_seconds + _PAST_SAMPLE:.6f}" if self.start_seconds > 0 else "0.000"


@dataclass(frozen=True, slots=True)
class Excerpt:
    """What is sent of a source instead of all of it.

    Attributes:
        tracks: Numbers of its sound tracks, in the order of the source.
        form: The format of the excerpt.
        cover: Index of the stream with the cover art. None: without a cover.
        is_for_copy: Whether an output may copy the packets, with their times and lengths.
    """

    tracks: tuple[int, ...]
    form: Literal["mov", "matroska"]
    cover: int | None = None
    is_for_copy: bool = False

    def __str__(self) -> str:
        """Return it as the name of an upload has it, after the content."""
        tracks = (f"a{track}" for track in self.tracks)
        cover = () if self.cover is None else (f"v{self.cover}",)
        return "-".join((*tracks, *cover, self.form, *(("copy",) if self.is_for_copy else ())))

    @property
    def cover_in_excerpt(self) -> int | None:
        """Index of the stream with the cover art in the excerpt: it follows the sound."""
        return None if self.cover is None else len(self.tracks)


@dataclass(frozen=True, slots=True)
class Excerpted:
    """What the conversion of an excerpt has instead of what that of the whole source has."""

    excerpt: Excerpt
    expected_bytes: int  # of the excerpt, as far as the source declares it
    arguments: tuple[str, ...]
    preferred_arguments: tuple[str, ...]
    sounds: tuple[Extent, ...]


@dataclass(frozen=True, slots=True)
class Conversion:
    """One source that one preset converts to one output.

    Attributes:
        existing: Whether its output exists already, and what made it. `current`: this conversion.
            `earlier`: the same, with an earlier version of the preset. `outdated`: a conversion of
            other content or with other options.
    """

    key: str  # 32 hex digits: hash of content, output name and preset
    source: Source
    content: str  # hash of the source's content, in hex
    output: str  # name of the blob in the output container
    preset: str  # name
    seconds: float | None = None  # expected length of the output; None if the source has no length
    arguments: tuple[str, ...] = ()  # of ffmpeg, for this source, in addition to the preset's
    preferred_arguments: tuple[str, ...] = ()  # all, to try first; (): none
    tags: str = ""  # a metadata file of FFmpeg, if the tags of the source are not UTF-8
    warnings: tuple[str, ...] = ()  # sentences about what the output will not keep
    track: str | None = None  # its sound track, if the source has several
    sounds: tuple[Extent, ...] = ()  # one for each sound track of the output
    picture: Extent | None = None  # None: the output has no pictures
    pixels: int = 0  # per picture of the source; 0: not known, or the output has no pictures
    existing: Existing = "none"
    excerpted: Excerpted | None = None  # None: the whole source is sent

    @property
    def excerpt(self) -> Excerpt | None:
        return self.excerpted.excerpt if self.excerpted else None

    @property
    def bytes_to_send(self) -> int:
        """How much is to be sent of the source, as far as it is known before."""
        return self.excerpted.expected_bytes if self.excerpted else self.source.size_bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    """A source that cannot be converted, found before its batch task was made."""

    source: Source
    reason: str
    output: str | None = None
    preset: str | None = None  # None: no preset can convert it


@dataclass(frozen=True, slots=True)
class KnownFailure:
    """A conversion whose source was at fault in an earlier run. It is not tried again."""

    conversion: Conversion
    reason: str
    failed_at: datetime


@dataclass(frozen=True, slots=True)
class Plan:
    """The conversions of a run. Each source, by each preset, is in exactly one of the four."""

    pending: tuple[Conversion, ...]
    done: tuple[Conversion, ...]
    refused: tuple[Refusal, ...]
    known_failures: tuple[KnownFailure, ...] = ()

    @property
    def unprobed(self) -> tuple[Conversion, ...]:
        """The conversions that need no probe, because they are not tried."""
        return (*self.done, *(failure.conversion for failure in self.known_failures))


@dataclass(frozen=True, slots=True)
class Ticket:
    """The identity of a run: its names in Azure and its deadline."""

    run_id: str  # 32 hex digits
    lock_id: str  # 16 hex digits; equal for all runs with the same output container and prefix
    output_container: str  # which contains the lock
    job_id: str
    pool_id: str  # empty: that of a warm pool, before the run knows its files
    owns_pool: bool
    started_at: datetime
    deadline: datetime
    log_secret: str = field(default_factory=token_hex, repr=False, compare=False)  # see log_name


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The state of one batch task in Batch's listing."""

    key: str
    attempt: int
    state: Literal["succeeded", "failed", "running"]
    exit_code: int | None = None
    code: str = ""  # error code of the failure, from Batch's documentation
    category: str = ""  # of the failure: "usererror" or "servererror"
    message: str = ""
    details: str = ""  # what Batch and its upload log say beyond the message
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
    verified: Mapping[str, Verified]  # what nodes measured in outputs, by key
    tails: Mapping[str, str]  # last lines that a failed batch task printed, by batch task id
    # By key: why what was converted is not the content that was planned.
    source_problems: Mapping[str, str] = field(default_factory=dict)
    ffmpeg_versions: frozenset[str] = frozenset()  # of the nodes, as far as they are known


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
    output_seconds: float | None = None  # length of what the output contains
    missing_seconds: float | None = None  # length of what the source lacks or cannot be decoded
    warnings: tuple[str, ...] = ()  # sentences about a converted file
    output_bytes: int | None = None
    started_at: datetime | None = None  # start of the last try
    ended_at: datetime | None = None  # end of the last try
    key: str | None = None  # of its conversion
    cost: float | None = None  # its share of the cost of the nodes; None without a price
    path: str = ""  # where the source is: an absolute path, or az://container/blob
    note: str | None = None  # what is worth knowing about the output; None: nothing
    track: str | None = None  # its sound track, if the source has several
    copied: bool = False  # the sound is that of the source, not encoded again
    known_since: datetime | None = None  # when it failed in an earlier run; None: not known
    source_bytes: int = 0  # size of the source
    sent_bytes: int = 0  # bytes uploaded for it. 0: nothing was, or for another row of its content

    @property
    def output_or_reason(self) -> str:
        """The output, or the reason why there is none, with remarks and warnings."""
        text = self.output if self.state in ("converted", "skipped") else self.reason
        remarks = (self.note, self.track, "copied" if self.copied else "")
        warnings = (f"warning: {text}" for text in self.warnings)
        return " ".join((text or "", *(f"({each})" for each in (*remarks, *warnings) if each)))
