"""Sources with several sound tracks, and what is heard in an output."""

import array
import subprocess
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import imageio_ffmpeg

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
_RATE = 8000


@dataclass(frozen=True)
class Track:
    """A sound track: a tone, and how the source describes it."""

    hertz: int
    language: str = ""
    title: str = ""
    disposition: str = "0"
    channels: int = 1
    codec: str = "aac"
    late_seconds: float = 0


def source_with(
    path: Path, *tracks: Track, seconds: int = 2, subtitles: tuple[Path, ...] = ()
) -> Path:
    """Write a source with these sound tracks. Films have pictures too."""
    inputs, options = list[str](), list[str]()
    for track in tracks:
        inputs += ["-itsoffset", str(track.late_seconds)] if track.late_seconds else []
        inputs += ["-f", "lavfi", "-i", f"sine={track.hertz}:r=48000:d={seconds}"]
    for number, track in enumerate(tracks):
        options += ["-map", f"{number}:a", f"-c:a:{number}", track.codec]
        options += [f"-ac:a:{number}", str(track.channels)]
        options += [f"-disposition:a:{number}", track.disposition]
        options += [f"-metadata:s:a:{number}", f"language={track.language}"]
        options += [f"-metadata:s:a:{number}", f"title={track.title}"]
    for number, text in enumerate(subtitles, start=len(tracks)):
        inputs += ["-i", str(text)]
        options += ["-map", f"{number}:s", "-metadata:s:s:0", "language=eng"]
    if path.suffix in (".mkv", ".mp4", ".mov", ".ts"):
        inputs += ["-f", "lavfi", "-i", f"testsrc=s=64x48:r=10:d={seconds}"]
        options += ["-map", f"{len(tracks) + len(subtitles)}:v", "-c:v", "libx264"]
    command = [FFMPEG, "-loglevel", "error", "-y", *inputs, *options, str(path)]
    subprocess.run(command, check=True)
    return path


def heard_hertz(path: Path, track: int = 0) -> int:
    """Return the frequency of the tone in a sound track, from its zero crossings."""
    command = [FFMPEG, "-loglevel", "error", "-i", str(path), "-map", f"0:a:{track}"]
    raw = subprocess.run(
        [*command, "-ac", "1", "-ar", str(_RATE), "-f", "s16le", "-"],
        check=True,
        capture_output=True,
    ).stdout
    samples = array.array("h", raw)
    middle = samples[len(samples) // 4 : len(samples) * 3 // 4]
    crossings = sum(a < 0 <= b for a, b in pairwise(middle))
    return round(crossings * _RATE / len(middle))


def decoded(path: Path, track: int = 0) -> bytes:
    """Return the samples of a sound track."""
    command = [FFMPEG, "-loglevel", "error", "-i", str(path), "-map", f"0:a:{track}"]
    raw = subprocess.run([*command, "-f", "s16le", "-"], check=True, capture_output=True)
    return raw.stdout
