"""Bytes uploaded for the sound of a film: `python tests/benchmarks/sent_bytes.py`.

The film has pictures of 1920x1080 at 8 Mbit/s and AAC at 128 kbit/s, as an MP4, a QuickTime and a
Matroska file.
"""

import json
import shutil
import subprocess
from pathlib import Path

from local_azure.ffmpeg import node_path
from rounds import record, show_users
from surroundings import surroundings

SECONDS = 60
FORMATS = ("mp4", "mov", "mkv")


def main() -> None:
    with surroundings() as around:
        library = make_films(around.folder / "library")
        report = around.folder / "report.json"
        around.convert(library, "--report", report)
        files = json.loads(report.read_text())["files"]
    shares = {Path(f["source"]).suffix[1:]: f["sent_bytes"] / f["source_bytes"] for f in files}
    megabytes = max(file["source_bytes"] for file in files) / 1e6
    record(
        "sent_bytes.py",
        what="1080p film at 8 Mbit/s to mp3: bytes sent ÷ bytes of the source",
        target="≤ 2 %",
        measured=", ".join(f"{name} {share:.1%}" for name, share in sorted(shares.items())),
        note=f"{megabytes:.0f} MB per film; everybody else uploads 100 %",
    )
    show_users(
        "an hour of 1080p film at 8 Mbit/s to mp3: uploaded",
        ours=in_megabytes(max(shares.values())),
        tutorial=in_megabytes(1),
    )


def in_megabytes(share: float) -> str:
    return f"{share * 3600 * 8.128 / 8:,.0f} MB"


def make_films(folder: Path) -> Path:
    """Create the film in each format, from the same streams."""
    folder.mkdir()
    ffmpeg = shutil.which("ffmpeg", path=node_path(folder.parent / "links")) or "ffmpeg"
    film = folder / f"film.{FORMATS[0]}"
    pictures = f"testsrc2=size=1920x1080:rate=25:duration={SECONDS},noise=alls=20:allf=t"
    inputs = ["-f", "lavfi", "-i", pictures, "-f", "lavfi", "-i", f"sine=duration={SECONDS}"]
    rate = ["-b:v", "8M", "-minrate", "8M", "-maxrate", "8M", "-bufsize", "8M"]
    codecs = ["-c:v", "libx264", "-preset", "ultrafast", *rate, "-c:a", "aac", "-b:a", "128k"]
    subprocess.run([ffmpeg, "-loglevel", "error", *inputs, *codecs, film], check=True)
    for name in FORMATS[1:]:
        copy = ["-i", film, "-c", "copy", film.with_suffix(f".{name}")]
        subprocess.run([ffmpeg, "-loglevel", "error", *copy], check=True)
    return folder


if __name__ == "__main__":
    main()
