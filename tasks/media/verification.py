"""What runner.sh verified about an output. It states that in the name of an empty file."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

MARKER = "seconds-"  # the start of the name


@dataclass(frozen=True, slots=True)
class Verified:
    """What a node measured in an output and its source.

    Attributes:
        seconds: Length of the output.
        missing_seconds: Length of what the source should contain but does not, or what cannot be
            decoded.
        warnings: Sentences about what is missing or was changed.
        version: Version of libavformat, which belongs to that of ffmpeg.
    """

    seconds: float
    missing_seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    version: str = ""


def read_marker(name: str) -> Verified:
    """Return what a marker states, such as `seconds-10.026_missing-4.010_gap-3.008-4.010`.

    Its words are joined by `_`, and begin with a name. Unknown words are ignored: another version
    of the runner may write them.
    """
    words = [word.partition("-")[::2] for word in name.split("_")]
    values = dict(words)
    return Verified(
        seconds=float(values["seconds"]),
        missing_seconds=float(values.get("missing", 0)),
        warnings=tuple(_sentences(words, values)),
        version=values.get("lavf", ""),
    )


def _sentences(words: list[tuple[str, str]], values: Mapping[str, str]) -> Iterator[str]:
    for several, one in (("gaps", "gap"), ("jumps", "jump")):
        if several in values:
            words = [word for word in words if word[0] != one]
    for name, value in words:
        if write := _WRITERS.get(name):
            yield write(value, values)


def _write_gap(value: str, _: Mapping[str, str]) -> str:
    start, length = map(float, value.split("-"))
    return (
        f"The source has no sound from {start:.1f} s to {start + length:.1f} s;"
        " the output is silent there."
    )


def _write_gaps(value: str, values: Mapping[str, str]) -> str:
    missing = float(values.get("missing", 0))
    return (
        f"The source has no sound in {value} places, {missing:.1f} s in total;"
        " the output is silent there."
    )


def _write_jump(value: str, _: Mapping[str, str]) -> str:
    place, length = value.split("-", 1)
    step = float(length)
    direction = "forward" if step > 0 else "back"
    return (
        f"The clock of the source jumps {direction} by {abs(step):.1f} s at {float(place):.1f} s;"
        " the output continues without a pause."
    )


def _write_jumps(value: str, _: Mapping[str, str]) -> str:
    return f"The clock of the source jumps in {value} places; the output continues without a pause."


def _write_damage(value: str, _: Mapping[str, str]) -> str:
    return f"The source is damaged: {float(value):.1f} s of its sound are missing."


def _write_pictures(value: str, _: Mapping[str, str]) -> str:
    damaged, all_ = value.split("-")
    return f"The source is damaged: {damaged} of its {all_} pictures cannot be decoded completely."


_WRITERS: Mapping[str, Callable[[str, Mapping[str, str]], str]] = {
    "gap": _write_gap,
    "gaps": _write_gaps,
    "jump": _write_jump,
    "jumps": _write_jumps,
    "damaged": _write_damage,
    "pictures": _write_pictures,
}
