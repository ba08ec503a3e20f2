"""Media clips made with PyAV, and folders for PATH with ffmpeg and the tools of a node."""

import array
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import cycle
from math import pi, sin
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import pytest
from av.stream import Disposition

_SAMPLES_PER_SECOND = 48_000
_BLOCK = 1024
_COVER_PIXELS = {"png": "rgb24", "mjpeg": "yuvj420p", "bmp": "bgr24"}


@dataclass(frozen=True)
class _Container:
    format: str
    video_codec: str
    audio_codec: str


_CONTAINERS = {
    ".aac": _Container("adts", "", "aac"),
    ".ac3": _Container("ac3", "", "ac3"),
    ".aiff": _Container("aiff", "", "pcm_s16be"),
    ".au": _Container("au", "", "pcm_s16be"),
    ".avi": _Container("avi", "mpeg4", "libmp3lame"),
    ".caf": _Container("caf", "", "pcm_s16le"),
    ".eac3": _Container("eac3", "", "eac3"),
    ".flac": _Container("flac", "", "flac"),
    ".flv": _Container("flv", "libx264", "aac"),
    ".m4a": _Container("mp4", "", "aac"),
    ".mkv": _Container("matroska", "libx264", "aac"),
    ".mov": _Container("mov", "libx264", "aac"),
    ".mp3": _Container("mp3", "", "libmp3lame"),
    ".mp4": _Container("mp4", "libx264", "aac"),
    ".mpg": _Container("mpeg", "mpeg2video", "mp2"),
    ".ogg": _Container("ogg", "", "libopus"),
    ".ts": _Container("mpegts", "libx264", "aac"),
    ".tta": _Container("tta", "", "tta"),
    ".w64": _Container("w64", "", "pcm_s16le"),
    ".vob": _Container("vob", "mpeg2video", "mp2"),
    ".wma": _Container("asf", "", "libmp3lame"),  # PyAV cannot open the encoder of WMA
    ".wav": _Container("wav", "", "pcm_s16le"),
    ".webm": _Container("webm", "libvpx", "libopus"),
    ".wv": _Container("wv", "", "wavpack"),
}
CLIP_SUFFIXES = frozenset(_CONTAINERS)


@dataclass(frozen=True)
class _Shape:
    """The properties of a clip. A stream of 0 seconds is left out."""

    audio: float = 2
    video: float = 2
    audio_begins: float = 0
    layout: str = "mono"
    size: tuple[int, int] = (64, 48)
    frames_per_second: int = 10
    lasting: tuple[int, ...] = (1,)  # length of each picture in frames, repeated
    cover: str = ""  # the codec of the cover
    sample_format: str = ""
    seekable: bool = True
    muxer: tuple[tuple[str, str], ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    sound_tags: tuple[tuple[str, str], ...] = ()
    chapters: tuple[str, ...] = ()  # titles; each chapter lasts half a second


class _UnseekableFile:
    """A file that cannot seek, such as a pipe: FFmpeg cannot complete its headers afterwards."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def write(self, data: bytes) -> int:
        return self._file.write(data)

    def close(self) -> None:
        self._file.close()


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that makes a clip and caches it. Copy a clip before you change it.

    `clip(".mp4")` has 2 s of audio and video, `clip(".mkv", audio=7, video=0)` has 7 s of audio.
    `_Shape` lists the other properties.
    """
    folder = tmp_path_factory.mktemp("clips")

    @cache
    def make(suffix: str, **shape: Any) -> Path:
        path = folder / f"{len(list(folder.iterdir()))}{suffix}"
        _write(path, _CONTAINERS[suffix], _Shape(**shape))
        return path

    return make


@pytest.fixture(scope="session")
def tools_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PATH with the tools that the runner uses, without sh and ffmpeg."""
    folder = tmp_path_factory.mktemp("tools")
    for name in ("awk", "df", "md5sum", "od", "rm", "wc"):
        (folder / name).symlink_to(shutil.which(name) or pytest.fail(f"{name} is not installed"))
    return folder


@pytest.fixture(scope="session")
def ffmpeg_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PATH with the ffmpeg of imageio-ffmpeg, or the one that NODE_FFMPEG names."""
    folder = tmp_path_factory.mktemp("ffmpeg")
    (folder / "ffmpeg").symlink_to(os.environ.get("NODE_FFMPEG") or imageio_ffmpeg.get_ffmpeg_exe())
    return folder


def _write(path: Path, kind: _Container, shape: _Shape) -> None:
    target: Any = os.fspath(path) if shape.seekable else _UnseekableFile(path)
    with av.open(
        target,
        "w",
        format=kind.format,
        options=dict(shape.muxer),
        metadata_errors="surrogateescape",
    ) as container:
        container.metadata.update(shape.tags)
        made: list[tuple[Any, Iterable[Any]]] = []
        if shape.chapters:
            container.set_chapters(list(_chapters(shape)))
        if shape.cover and kind.format == "matroska":
            container.add_attachment("cover.png", "image/png", _encoded(shape))
        elif shape.cover:
            made.append((_add_cover(container, shape.cover), [_picture(shape, 0)]))
        if shape.video and kind.video_codec:
            made.append((_add_video(container, kind, shape), _pictures(shape)))
        if shape.audio:
            made.append((_add_audio(container, kind, shape), _blocks(shape)))
        for stream, frames in made:
            for frame in (*frames, None):
                container.mux(stream.encode(frame))
    if isinstance(target, _UnseekableFile):
        target.close()


def _add_video(container: Any, kind: _Container, shape: _Shape) -> Any:
    options = {"preset": "ultrafast"} if kind.video_codec == "libx264" else {}
    stream = container.add_stream(kind.video_codec, rate=shape.frames_per_second, options=options)
    stream.width, stream.height = shape.size
    stream.pix_fmt = "yuv420p"
    return stream


def _add_audio(container: Any, kind: _Container, shape: _Shape) -> Any:
    stream = container.add_stream(kind.audio_codec, rate=_SAMPLES_PER_SECOND, layout=shape.layout)
    stream.metadata.update(shape.sound_tags)
    stream.codec_context.time_base = Fraction(1, _SAMPLES_PER_SECOND)
    if shape.sample_format:
        stream.codec_context.format = shape.sample_format
    return stream


def _add_cover(container: Any, codec: str) -> Any:
    stream = container.add_stream(codec, rate=1)
    stream.width, stream.height, stream.pix_fmt = 64, 48, _COVER_PIXELS[codec]
    stream.disposition = Disposition.attached_pic
    return stream


def _encoded(shape: _Shape) -> bytes:
    """Return the cover as the bytes of a file."""
    encoder: Any = av.CodecContext.create(shape.cover, "w")
    encoder.width, encoder.height, encoder.pix_fmt = 64, 48, _COVER_PIXELS[shape.cover]
    encoder.time_base = Fraction(1, 1)
    frame = _picture(shape, 0).reformat(64, 48, _COVER_PIXELS[shape.cover])
    return b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))


def _chapters(shape: _Shape) -> Iterator[Any]:
    for number, title in enumerate(shape.chapters):
        yield {
            "id": number,
            "start": 500 * number,
            "end": 500 * (number + 1),
            "time_base": Fraction(1, 1000),
            "metadata": {"title": title},
        }


def _pictures(shape: _Shape) -> Iterator[av.VideoFrame]:
    number, turns = 0, cycle(shape.lasting)
    while number < round(shape.video * shape.frames_per_second):
        yield _picture(shape, number)
        number += next(turns)


def _picture(shape: _Shape, number: int) -> av.VideoFrame:
    frame = av.VideoFrame(*shape.size, "yuv420p")
    for plane in frame.planes:
        plane.update(bytes([(7 * number + 40) % 256]) * plane.buffer_size)
    frame.pts, frame.time_base = number, Fraction(1, shape.frames_per_second)
    return frame


def _blocks(shape: _Shape) -> Iterator[av.AudioFrame]:
    """Yield a tone of 440 Hz at a third of full volume. The encoder resamples it."""
    begin, count = (round(s * _SAMPLES_PER_SECOND) for s in (shape.audio_begins, shape.audio))
    for at in range(0, count, _BLOCK):
        samples = range(at, min(at + _BLOCK, count))
        frame = av.AudioFrame(format="flt", layout="mono", samples=len(samples))
        wave = array.array("f", (sin(2 * pi * 440 * n / _SAMPLES_PER_SECOND) / 3 for n in samples))
        frame.planes[0].update(wave.tobytes().ljust(frame.planes[0].buffer_size, b"\0"))
        frame.sample_rate, frame.pts = _SAMPLES_PER_SECOND, begin + at
        frame.time_base = Fraction(1, _SAMPLES_PER_SECOND)
        yield frame


@pytest.fixture(scope="session")
def real_clips() -> dict[str, Path]:
    """The two clips beside the project, by name. Without them the test is skipped."""
    folder = Path(__file__).parents[2].parent / "shared" / "media"
    clips = {path.name: path for path in folder.glob("*.mp4")}
    return clips or pytest.skip("../shared/media does not contain the real clips")
