"""Films that ffmpeg makes from a recipe, and what their pictures look like."""

import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import av
import imageio_ffmpeg
import pytest

PATCH = 32  # pixels


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that makes a film and caches it: `film("a.mkv", "-f lavfi -i testsrc …")`.

    The recipe consists of ffmpeg's arguments before the output, and names no file with a space.
    """
    folder = tmp_path_factory.mktemp("films")

    @cache
    def make(name: str, recipe: str) -> Path:
        path = folder / str(len(list(folder.iterdir()))) / name
        path.parent.mkdir()
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *recipe.split(), str(path)]
        subprocess.run(command, check=True, timeout=120)
        return path

    return make


def pictures(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def patches(path: Path, *, rows: int = 1, columns: int = 1) -> list[tuple[int, ...]]:
    """Return luma and chroma at the centre of each patch of the first picture, row by row."""
    frame = pictures(path)[0].reformat(format="yuv444p")
    planes = [(bytes(plane), plane.line_size) for plane in frame.planes]
    return [
        tuple(data[int(y) * size + int(x)] for data, size in planes)
        for x, y in _centres(frame, rows, columns)
    ]


def _centres(frame: av.VideoFrame, rows: int, columns: int) -> Iterator[tuple[float, float]]:
    for row in range(rows):
        for column in range(columns):
            yield (column + 0.5) * frame.width / columns, (row + 0.5) * frame.height / rows


def combing(frame: av.VideoFrame) -> float:
    """Return how much each line differs from its neighbours: large where two fields are woven."""
    plane = frame.reformat(format="gray").planes[0]
    data, size = bytes(plane), plane.line_size
    lines = [data[at : at + frame.width] for at in range(0, frame.height * size, size)]
    triples = zip(lines, lines[1:], lines[2:], strict=False)
    values = [
        abs(2 * here - above - below)
        for three in triples
        for above, here, below in zip(*three, strict=True)
    ]
    return sum(values) / len(values)
