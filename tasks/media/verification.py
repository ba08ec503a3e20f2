"""What runner.sh verified about an output. It states that in the name of an empty file."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_NUMBER = r"(\d{1,9}(?:\.\d{1,9})?)"
_MARKER = re.compile(rf"seconds-{_NUMBER}(?:_missing-{_NUMBER})?(_.*?)??(?:_lavf-([\w.]{{1,40}}))?")


@dataclass(frozen=True, slots=True)
class Verified:
    """What a node measured in an output and its source.

    Attributes:
        seconds: Length of the output.
        missing_seconds: Length of what the source should contain but does not, or what cannot be
            decoded.
        warnings: Sentences about what is missing or was changed.
        version: Version of libavformat, which belongs to that of ffmpeg. "": not known.
        is_copied: Whether the sound is that of the source, not encoded again.
    """

    seconds: float
    missing_seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    version: str = ""
    is_copied: bool = False


def read_marker(name: str) -> Verified | None:
    """Return what a name states, such as `seconds-10.026_missing-4.010_gap-3.008-4.010`.

    A node wrote it, so it may be anything. None: it is not a marker. Unknown words are ignored.
    """
    found = _MARKER.fullmatch(name)
    if not found:
        return None
    seconds, missing, words, version = found.groups()
    missing_seconds = float(missing or 0)
    warnings = tuple(_warnings(words or "", missing_seconds))
    is_copied = "_copied" in (words or "")
    return Verified(float(seconds), missing_seconds, warnings, version or "", is_copied)


def _warnings(words: str, missing_seconds: float) -> Iterator[str]:
    """Yield the sentences about an output, and those about each of several sound tracks."""
    whole, *tracks = re.split(r"_track-(\d+)", words)
    yield from _sentences(whole, missing_seconds)
    for number, about in zip(tracks[::2], tracks[1::2], strict=True):
        yield from (f"Track {number}: {text}" for text in _sentences(about, 0))
    if "_others" in words:
        yield "Other sound tracks lack sound too, or their clock jumps."


def _sentences(words: str, missing_seconds: float) -> Iterator[str]:
    """Yield a sentence for each word. Words that end in s, such as gaps, replace single ones."""
    if several := re.search(r"_gaps-(\d+)", words):
        total = f", {missing_seconds:.1f} s in total" if missing_seconds else ""
        yield f"The source has no sound in {several[1]} places{total}; the output is silent there."
    else:
        for start, length in re.findall(rf"_gap-{_NUMBER}-{_NUMBER}", words):
            yield (
                f"The source has no sound from {float(start):.1f} s to"
                f" {float(start) + float(length):.1f} s; the output is silent there."
            )
    for seconds in re.findall(rf"_damaged-{_NUMBER}", words):
        yield f"The source is damaged: {float(seconds):.1f} s of its sound are missing."
    for damaged, all_ in re.findall(r"_pictures-(\d+)-(\d+)", words):
        yield (
            f"The source is damaged: {damaged} of its {all_} pictures cannot be decoded completely."
        )
    if "_plain" in words:
        yield (
            "The pictures are HDR. ffmpeg on the node cannot map them to BT.709, so the output has"
            " the colours of the source in 8 bits."
        )
    yield from _jumps(words)


def _jumps(words: str) -> Iterator[str]:
    closed = "the output continues without a pause."
    if several := re.search(r"_jumps-(\d+)", words):
        yield f"The clock of the source jumps in {several[1]} places; {closed}"
        return
    for place, sign, length in re.findall(rf"_jump-{_NUMBER}-(-?){_NUMBER}", words):
        direction = "back" if sign else "forward"
        yield (
            f"The clock of the source jumps {direction} by {float(length):.1f} s at"
            f" {float(place):.1f} s; {closed}"
        )
