"""Five short clips to try the pipeline with: shifting colours and a rising tone."""

import math
import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import av

_WIDTH, _HEIGHT = 160, 90
_FRAMES_PER_SECOND = 12
_SAMPLES_PER_SECOND = 44_100
_BLOCK = 1024


@dataclass(frozen=True)
class _Sample:
    name: str
    seconds: float
    hue: int
    hertz: float


_SAMPLES = (
    _Sample("01 sunrise.mp4", 2.0, 170, 220.0),
    _Sample("02 harbour.mp4", 2.5, 30, 261.6),
    _Sample("03 market.mp4", 3.0, 90, 329.6),
    _Sample("04 river.mp4", 3.5, 200, 392.0),
    _Sample("05 night train.mp4", 4.0, 240, 440.0),
)


def make_samples(folder: Path) -> list[Path]:
    """Make five MP4 clips (H.264 and AAC, 2 to 4 s), except those that the folder has whole."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_made(folder / sample.name, sample) for sample in _SAMPLES]


def _made(path: Path, sample: _Sample) -> Path:
    if not _is_whole(path):
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        _write(unfinished, sample)
        unfinished.replace(path)
    return path


def _is_whole(path: Path) -> bool:
    """Return whether every packet in the index exists. A cut file keeps the whole index."""
    import av

    try:
        with av.open(str(path)) as clip:
            whole = [p.size > 0 and not p.is_corrupt for p in clip.demux()]
            return sum(whole) == sum(stream.frames for stream in clip.streams) > 0
    except (OSError, av.FFmpegError):
        return False


def _write(path: Path, sample: _Sample) -> None:
    import av

    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        video = container.add_stream(
            "libx264",
            rate=_FRAMES_PER_SECOND,
            # With one thread the bytes are the same on every machine.
            options={"preset": "ultrafast", "crf": "30", "threads": "1"},
        )
        video.width, video.height, video.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
        audio = container.add_stream("aac", rate=_SAMPLES_PER_SECOND, layout="mono")
        audio.bit_rate = 64_000
        for picture in (*_pictures(sample), None):
            container.mux(video.encode(picture))
        for tone in (*_tones(sample), None):
            container.mux(audio.encode(tone))


def _pictures(sample: _Sample) -> "Iterator[av.VideoFrame]":
    import av

    count = round(sample.seconds * _FRAMES_PER_SECOND)
    for number in range(count):
        frame = av.VideoFrame(_WIDTH, _HEIGHT, "yuv420p")
        for plane, level in zip(frame.planes, _colours(sample, number / count), strict=True):
            plane.update(bytes(_gradient(level, plane.line_size)) * plane.height)
        frame.pts, frame.time_base = number, Fraction(1, _FRAMES_PER_SECOND)
        yield frame


def _colours(sample: _Sample, progress: float) -> tuple[int, int, int]:
    """Return luma and both chroma levels at a point of the clip. `progress` is from 0 to 1."""
    return 60 + int(120 * progress), sample.hue, (sample.hue + int(90 * progress)) % 256


def _gradient(level: int, width: int) -> Iterator[int]:
    return (min(255, level + 40 * x // width) for x in range(width))


def _tones(sample: _Sample) -> "Iterator[av.AudioFrame]":
    import av

    wave = array("f", _wave(sample))
    for begin in range(0, len(wave), _BLOCK):
        block = wave[begin : begin + _BLOCK]
        frame = av.AudioFrame(format="fltp", layout="mono", samples=len(block))
        frame.planes[0].update(block.tobytes().ljust(frame.planes[0].buffer_size, b"\0"))
        frame.sample_rate, frame.pts = _SAMPLES_PER_SECOND, begin
        frame.time_base = Fraction(1, _SAMPLES_PER_SECOND)
        yield frame


def _wave(sample: _Sample) -> Iterator[float]:
    """Yield a tone that rises by an octave, swells to a third of full volume and fades."""
    count = round(sample.seconds * _SAMPLES_PER_SECOND)
    for n in range(count):
        progress = n / count
        turns = sample.hertz * (n + n * progress / 2) / _SAMPLES_PER_SECOND
        yield math.sin(2 * math.pi * turns) * math.sin(math.pi * progress) / 3
