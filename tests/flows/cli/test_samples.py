import shutil
import subprocess
import sys
from pathlib import Path

import av
import pytest

from flows.cli.samples import make_samples


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_samples(tmp_path_factory.mktemp("samples") / "new")


def test_five_clips_of_different_lengths_are_made(samples: list[Path]) -> None:
    lengths = []
    for path in samples:
        with av.open(str(path)) as clip:
            assert clip.duration
            assert clip.streams.video[0].codec_context.name == "h264"
            assert clip.streams.audio[0].codec_context.name == "aac"
            assert sum(1 for _ in clip.decode(video=0)) > 20
            lengths.append(clip.duration / 1_000_000)
    assert lengths == pytest.approx([2.0, 2.5, 3.0, 3.5, 4.0], abs=0.05)


def test_the_clips_are_audible(samples: list[Path]) -> None:
    for path in samples:
        with av.open(str(path)) as clip:
            loudest = max(max(memoryview(f.planes[0]).cast("f")) for f in clip.decode(audio=0))
        assert 0.2 < loudest < 0.6


def test_the_clips_are_small_mp4_files_with_names(samples: list[Path]) -> None:
    assert [path.name for path in samples][0::4] == ["01 sunrise.mp4", "05 night train.mp4"]
    assert len({path.name for path in samples}) == 5
    assert sum(path.stat().st_size for path in samples) < 500_000


def test_the_folder_contains_nothing_else(samples: list[Path]) -> None:
    assert sorted(samples[0].parent.iterdir()) == samples


def test_the_clips_are_the_same_bytes_each_time(samples: list[Path], tmp_path: Path) -> None:
    for old, new in zip(samples, make_samples(tmp_path), strict=True):
        assert new.read_bytes() == old.read_bytes()


def test_only_missing_clips_are_made(tmp_path: Path) -> None:
    first, second, *others = make_samples(tmp_path)
    second.unlink()
    changed = {path: path.stat().st_mtime_ns for path in (first, *others)}
    assert make_samples(tmp_path) == [first, second, *others]
    assert second.exists()
    assert changed == {path: path.stat().st_mtime_ns for path in (first, *others)}


@pytest.mark.parametrize("missing", [1, 5000, 24_500, 25_000])
def test_a_clip_that_is_cut_short_is_made_again(
    samples: list[Path], tmp_path: Path, missing: int, capfd: pytest.CaptureFixture[str]
) -> None:
    for path in samples:
        shutil.copy(path, tmp_path)
    first = tmp_path / samples[0].name
    first.write_bytes(first.read_bytes()[:-missing])
    make_samples(tmp_path)
    assert first.read_bytes() == samples[0].read_bytes()
    assert capfd.readouterr() == ("", "")


def test_importing_the_module_does_not_import_av() -> None:
    code = "import flows.cli.samples, sys; print('av' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "False\n"
