"""Tags of a source that are not UTF-8, and the file with which ffmpeg writes them as UTF-8.

The names and values come from the source, so they never appear in ffmpeg's arguments.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, chain
from typing import TYPE_CHECKING

from tasks.media.tag_arguments import REMOVED
from tasks.media.tag_encoding import ENCODINGS, Encoding, guess_encoding

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.stream import Stream as AvStream

RAW = "surrogateescape"  # keeps the bytes that are not UTF-8 in the strings that PyAV returns
MOST_BYTES = 16_384  # of a tag file, which is part of a request to Batch
_LINE_BYTES = 1000  # ffmpeg 4.2 reads 1,023 bytes of a line
_HEAD = ";FFMETADATA1\n"
_MOST_CHAPTERS = 150  # more do not fit
_MICROSECONDS = 1_000_000
_WRONG = re.compile("[\udc80-\udcff]")

Tags = dict[str, str]


@dataclass(frozen=True, slots=True)
class Chapter:
    """A chapter of a source. Its times are from the beginning of the source."""

    start: int
    end: int
    time_base: Fraction
    tags: Tags


@dataclass(frozen=True, slots=True)
class TagFile:
    """A metadata file of FFmpeg. It replaces the tags of the source.

    Attributes:
        text: Its content. "": the tags of the source are valid.
        opus_text: The same for Opus, with chapters as tags. "": the source has none, or too many.
        has_streams: Whether it replaces the tags of streams too.
        has_chapters: Whether it replaces the chapters too.
        warnings: Sentences about tags that the output may not have as the source has them.
    """

    text: str = ""
    opus_text: str = ""
    has_streams: bool = False
    has_chapters: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceTags:
    """The tags of a source, as valid text.

    Attributes:
        encoding: The encoding of those that are not UTF-8. None: all are UTF-8.
        whole: The tags of the whole source.
        chapters: Its chapters.
        are_streams_wrong: Whether tags of streams are not UTF-8.
        are_chapters_wrong: Whether tags of chapters are not UTF-8.
    """

    encoding: Encoding | None
    whole: Tags
    chapters: tuple[Chapter, ...] = ()
    are_streams_wrong: bool = False
    are_chapters_wrong: bool = False


def read_tags(container: "InputContainer") -> SourceTags:
    """Read the tags of a container that was opened with `metadata_errors=RAW`.

    The tags of the container and of its streams are valid text afterwards.
    """
    streams = [stream.metadata for stream in container.streams]
    chapters = tuple(_chapters(container))
    wrong = _wrong_values([container.metadata, *streams, *(c.tags for c in chapters)])
    if not wrong:
        return SourceTags(None, _whole(container), chapters)
    encoding = guess_encoding(wrong)
    are_streams_wrong = bool(_wrong_values(streams))
    are_chapters_wrong = bool(_wrong_values(chapter.tags for chapter in chapters))
    for tags in (container.metadata, *streams, *(chapter.tags for chapter in chapters)):
        _correct(tags, encoding)
    return SourceTags(
        encoding,
        _whole(container),
        chapters,
        are_streams_wrong,
        are_chapters_wrong,
    )


def _chapters(container: "InputContainer") -> Iterator[Chapter]:
    for found in container.chapters():
        unit = found["time_base"] or Fraction(1, _MICROSECONDS)
        skipped = round(Fraction(container.start_time or 0, _MICROSECONDS) / unit)
        start, end = found["start"] - skipped, found["end"] - skipped
        yield Chapter(start, end, unit, found["metadata"])


def _wrong_values(groups: Iterable[Tags]) -> list[bytes]:
    """Return the names and values that are not UTF-8."""
    texts = chain.from_iterable(chain(tags, tags.values()) for tags in groups)
    return [text.encode(errors=RAW) for text in texts if _is_wrong(text)]


def _is_wrong(text: str) -> bool:
    return bool(_WRONG.search(text))


def _correct(tags: Tags, encoding: Encoding) -> None:
    texts = {_read(key, encoding): _read(value, encoding) for key, value in tags.items()}
    tags.clear()
    tags.update(texts)


def _read(text: str, encoding: Encoding) -> str:
    return encoding.read(text.encode(errors=RAW)) if _is_wrong(text) else text


def _whole(container: "InputContainer") -> Tags:
    """Return the tags of the whole source. Ogg has them in its first stream."""
    streams = (*container.streams.audio, *container.streams.video)
    if container.format.name == "ogg" and streams:
        return container.metadata | streams[0].metadata
    return container.metadata


def write_tags(tags: SourceTags, streams: Sequence["AvStream | None"]) -> TagFile:
    """Return the file for the tags of a source and of these streams, in this order."""
    about_streams: list[tuple[str, Tags]] = []
    if tags.are_streams_wrong:
        about_streams = [("[STREAM]\n", stream.metadata if stream else {}) for stream in streams]
    kept = {name: value for name, value in tags.whole.items() if name.lower() not in REMOVED}
    opus_text, fits_opus = _file([(_HEAD, kept | _opus_chapters(tags)), *about_streams])
    if not tags.chapters or not fits_opus:
        opus_text = ""
    if tags.encoding is None:
        return TagFile(opus_text=opus_text)
    chapters = tags.chapters if tags.are_chapters_wrong else ()
    about_chapters = [(_chapter_head(each), each.tags) for each in chapters[:_MOST_CHAPTERS]]
    text, is_complete = _file([(_HEAD, tags.whole), *about_streams, *about_chapters])
    warnings = [] if tags.encoding.is_sure else [_encoding_warning(tags.encoding)]
    if not is_complete or len(chapters) > _MOST_CHAPTERS:
        warnings.append("The tags of the source are too long: the output has only a part of them.")
    return TagFile(text, opus_text, tags.are_streams_wrong, bool(chapters), tuple(warnings))


def _opus_chapters(tags: SourceTags) -> Tags:
    """Return the chapters as Opus has them: the time of each, then its name.

    FFmpeg would write those in the second half of a second one second late.
    Source: https://wiki.xiph.org/Chapter_Extension
    """
    return {
        name: value
        for number, chapter in enumerate(tags.chapters)
        for name, value in (
            (f"CHAPTER{number:03}", _clock(chapter.start * chapter.time_base)),
            (f"CHAPTER{number:03}NAME", chapter.tags.get("title", "")),
        )
    }


def _clock(seconds: Fraction) -> str:
    thousandths = max(0, round(seconds * 1000))
    minutes, rest = divmod(thousandths, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"


def _chapter_head(chapter: Chapter) -> str:
    unit = chapter.time_base
    times = f"START={chapter.start}\nEND={chapter.end}"
    return f"[CHAPTER]\nTIMEBASE={unit.numerator}/{unit.denominator}\n{times}\n"


def _file(groups: Sequence[tuple[str, Tags]]) -> tuple[str, bool]:
    """Return the text of the file, and whether all tags fit. Each group has its head."""
    left = MOST_BYTES - sum(len(head) for head, _ in groups)
    text, is_complete = "", True
    for head, tags in groups:
        text += head
        for key, value in tags.items():
            line, is_cut = _line(key, value)
            size = len(line.encode())
            fits = size <= left
            is_complete &= fits and not is_cut
            if fits:
                text, left = text + line, left - size
    return text, is_complete


def _line(key: str, value: str) -> tuple[str, bool]:
    """Return the line for a tag, and whether it is cut."""
    start = "".join(map(_escape, _clean(key)))
    letters = [*map(_escape, _clean(value[: _LINE_BYTES + 1]))]
    sizes = accumulate((len(letter.encode()) for letter in letters), initial=len(start.encode()))
    fitting = bisect_right(list(sizes), _LINE_BYTES) - 1
    if not start or fitting < 0:
        return "", True
    text = "".join(letters[:fitting])
    # For ffmpeg, a line break after any backslash is a part of the value.
    end = " \n" if text.endswith("\\") else "\n"
    return f"{start}={text}{end}", fitting < len(letters) or len(value) > _LINE_BYTES


def _clean(text: str) -> str:
    """Leave out the control characters, which are no text, except line breaks and tabs."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "", text)


def _escape(letter: str) -> str:
    # "[" would start a section at the start of a line.
    return f"\\{letter}" if letter in "=;#\\[\n" else letter


def _encoding_warning(encoding: Encoding) -> str:
    if encoding.name is None:
        return (
            "The tags of the source are not UTF-8, and their encoding is unknown."
            " The output has \N{REPLACEMENT CHARACTER} for what cannot be read."
        )
    return (
        "The tags of the source are not UTF-8."
        f" They were read as {ENCODINGS[encoding.name]}, which is a guess."
    )
