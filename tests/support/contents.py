"""Measures what a media file contains: by decoding it, not by what it declares."""

import array
import subprocess
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
from av.stream import Disposition

_HERTZ = 16_000
_WINDOW = 80  # samples: 5 ms
_LOUD = 1000  # the largest sample of a window with a tone
_WITH_FLAGS = {"matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2"}


@dataclass(frozen=True)
class Heard:
    """A sound track.

    Attributes:
        rate: Samples per second.
        seconds: Length of what was decoded.
        begins: Seconds from the start of the file at which its tone begins.
        hertz: Frequency of the tone.
        title: Title of the track. Ogg has none: its title is that of the recording.
        is_default: Whether it has the default flag, in formats with such a flag.
    """

    codec: str
    channels: int
    rate: int
    seconds: float
    begins: float
    hertz: float
    language: str
    title: str
    is_default: bool


@dataclass(frozen=True)
class Contents:
    """What a media file contains."""

    tracks: tuple[Heard, ...]
    pictures: str  # codec of the film. "": it has none
    tags: dict[str, str]
    chapters: tuple[tuple[float, str], ...]  # start in seconds, and title
    cover: bytes
    subtitles: tuple[tuple[str, str], ...]  # language, and the first text


def read_contents(path: Path) -> Contents:
    with av.open(str(path)) as container:
        numbers = range(len(container.streams.audio))
        films = [stream for stream in container.streams.video if not _is_cover(stream)]
        tags = {**_first_tags(container), **container.metadata}
        return Contents(
            tracks=tuple(_listen(path, number) for number in numbers),
            pictures=films[0].codec_context.codec.canonical_name if films else "",
            tags={name.lower(): value for name, value in tags.items()},
            chapters=tuple(map(_chapter, container.chapters())),
            cover=_cover(container),
            subtitles=tuple(_read_subtitle(path, s.index) for s in container.streams.subtitles),
        )


def tones(path: Path, channels: int) -> list[int]:
    """Return the frequency in each channel, rounded to hundreds of hertz. 0: it is silent."""
    words = ["-f", "s16le", "-ac", str(channels), "-ar", str(_HERTZ), "-"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), *words]
    samples = array.array("h", subprocess.run(command, capture_output=True, check=True).stdout)
    return [round(_tone(samples[number::channels])[1], -2) for number in range(channels)]


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)


def _first_tags(container: Any) -> dict[str, str]:
    """Return the tags of the first sound track: Ogg stores them there."""
    return dict(container.streams.audio[0].metadata) if container.streams.audio else {}


def _chapter(chapter: Any) -> tuple[float, str]:
    return float(chapter["start"] * chapter["time_base"]), chapter["metadata"].get("title", "")


def _cover(container: Any) -> bytes:
    covers = [stream for stream in container.streams.video if _is_cover(stream)]
    return bytes(next(container.demux(covers[0]))) if covers else b""


def _read_subtitle(path: Path, index: int) -> tuple[str, str]:
    with av.open(str(path)) as container:
        stream: Any = container.streams[index]
        texts = (each.ass for packet in container.demux(stream) for each in packet.decode())
        return stream.language or "", next(texts).decode().rpartition(",")[2]


def _listen(path: Path, number: int) -> Heard:
    with av.open(str(path)) as container:
        stream = container.streams.audio[number]
        frames = list(container.decode(stream))
        first = float(frames[0].time or 0) - (container.start_time or 0) / av.time_base
        samples = _mono(frames)
        begin, hertz = _tone(samples)
        language = stream.language or stream.metadata.get("LANGUAGE") or ""
        return Heard(
            codec=stream.codec_context.codec.canonical_name,
            channels=frames[-1].layout.nb_channels,
            rate=frames[-1].sample_rate,
            seconds=sum(frame.samples / frame.sample_rate for frame in frames),
            begins=first + begin,
            hertz=hertz,
            language="" if language == "und" else language,
            title=_title(stream, container.format.name),
            is_default=container.format.name in _WITH_FLAGS
            and bool(stream.disposition & Disposition.default),
        )


def _title(stream: Any, container_format: str) -> str:
    if container_format == "ogg":
        return ""
    return str(stream.metadata.get("title") or stream.metadata.get("name") or "")


def _mono(frames: list[av.AudioFrame]) -> "array.array[int]":
    resampler = av.AudioResampler(format="s16", layout="mono", rate=_HERTZ)
    samples = array.array("h")
    for frame in (*frames, None):
        for part in resampler.resample(frame):
            samples.frombytes(bytes(part.planes[0])[: 2 * part.samples])
    return samples


def _tone(samples: "array.array[int]") -> tuple[float, float]:
    """Return when the tone begins, in seconds, and its frequency."""
    starts = range(0, len(samples), _WINDOW)
    begin = next((at for at in starts if max(samples[at : at + _WINDOW]) > _LOUD), len(samples))
    loud = samples[begin : len(samples) - _HERTZ // 10]
    risen = sum(before < 0 <= after for before, after in pairwise(loud))
    return begin / _HERTZ, risen * _HERTZ / max(len(loud), 1)
