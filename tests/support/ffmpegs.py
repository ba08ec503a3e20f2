"""Several versions of ffmpeg, as nodes may have them."""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import pytest
from runner_node import Node

# The packages that contain them. The newest is the one that this project installs.
PACKAGES = {"4.2": "imageio-ffmpeg==0.5.1", "7.0": "imageio-ffmpeg==0.6.0"}
NEWEST, DEBIAN = "newest", "5.1"
EACH = [
    NEWEST,
    "4.2",
    pytest.param(DEBIAN, marks=pytest.mark.slow),
    pytest.param("7.0", marks=pytest.mark.slow),
]


@pytest.fixture(scope="session")
def ffmpeg_of(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """A function that returns a folder for PATH with this version of ffmpeg.

    Versions in PACKAGES are downloaded once, into pytest's cache. Debian's comes from PATH, or from
    DEBIAN_FFMPEG.
    """
    cache = request.config.cache
    assert cache is not None

    def find(version: str) -> Path:
        folder = tmp_path_factory.mktemp("ffmpeg")
        (folder / "ffmpeg").symlink_to(_find(version, Path(cache.mkdir("ffmpeg"))))
        return folder

    return find


@pytest.fixture(params=EACH)
def any_node(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    ffmpeg_of: Callable[[str], Path],
    tools_folder: Path,
) -> Node:
    """A node with each version of ffmpeg, without an input."""
    return Node(tmp_path, f"{ffmpeg_of(request.param)}:{tools_folder}")


def _find(version: str, cache: Path) -> Path:
    if version == NEWEST:
        return Path(imageio_ffmpeg.get_ffmpeg_exe())
    return _debian() if version == DEBIAN else _download(version, cache)


def _debian() -> Path:
    found = os.environ.get("DEBIAN_FFMPEG") or shutil.which("ffmpeg")
    if found:
        command = [found, "-version"]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        if text.startswith(f"ffmpeg version {DEBIAN}"):
            return Path(found)
    pytest.skip(f"ffmpeg {DEBIAN} is neither on PATH nor in DEBIAN_FFMPEG")


def _download(version: str, cache: Path) -> Path:
    target = cache / f"ffmpeg-{version}"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            _pip_download(PACKAGES[version], folder)
            (wheel,) = Path(folder).glob("*.whl")
            made = Path(folder, "ffmpeg")
            made.write_bytes(_read_binary(wheel))
            made.chmod(0o755)
            made.replace(target)  # at once: tests run in several processes
    return target


def _pip_download(package: str, folder: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
    subprocess.run([*command, "--only-binary", ":all:", package], check=True, timeout=300)


def _read_binary(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if "/binaries/ffmpeg-" in name)
        return archive.read(name)
