import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import av
import bombs
import pytest
from impostors import PLAYLISTS, Canary, with_external_data
from runner_node import EX_DATAERR, RUNNER, Node

from tasks.media.input_limits import FORMATS, MOST_PIXELS, MOST_SECONDS
from tasks.media.presets import PRESETS
from tasks.media.sync import PAUSE_SECONDS

Clip = Callable[..., Path]


def test_the_shell_never_parses_a_value(node: Callable[..., Node], clip: Clip) -> None:
    title = "title=$(touch pwned) `touch pwned` 'a' \"b\" * ; touch pwned \\"
    output = "$(touch pwned) 'o' *;.mp3"
    result = node(clip(".wav")).run("-metadata", title, output=output)
    assert result.status == 0, result.stderr
    assert not (result.folder / "pwned").exists()
    with av.open(str(result.folder / output)) as made:
        assert f"title={made.metadata['title']}" == title


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("target", ["canary.ts", "file", "url"])
def test_a_playlist_opens_neither_files_nor_urls(
    node: Callable[..., Node], canary: Canary, kind: str, target: str
) -> None:
    named = {"file": str(canary.file), "url": canary.url}.get(target, target)
    result = node(PLAYLISTS[kind](named)).run()
    assert result.status == EX_DATAERR
    assert result.last_line.startswith("runner: ffmpeg failed with status ")
    assert not (result.folder / "output.mp3").exists()
    assert not canary.was_asked()


def test_a_film_with_its_data_in_another_file_does_not_open_that_file(
    node: Callable[..., Node], clip: Clip, canary: Canary
) -> None:
    result = node(with_external_data(clip(".mov").read_bytes(), str(canary.file))).run()
    assert result.status != 0
    assert "Skipped opening external track" in result.stderr


def test_without_the_allow_lists_ffmpeg_opens_the_url(
    tmp_path: Path, ffmpeg_folder: Path, canary: Canary
) -> None:
    """This shows that the tests above can fail."""
    (tmp_path / "input").write_bytes(PLAYLISTS["concat"](canary.url))
    command = [ffmpeg_folder / "ffmpeg", "-nostdin", "-safe", "0", "-protocol_whitelist"]
    asking = [*command, "file,http,tcp", "-i", tmp_path / "input", "-f", "null", "-"]
    with subprocess.Popen(asking, stderr=subprocess.DEVNULL) as process:
        canary.listener.settimeout(20)
        assert canary.was_asked()
        process.kill()


def test_the_name_of_the_input_is_not_a_pattern(node: Callable[..., Node], clip: Clip) -> None:
    here = node(clip(".wav"))
    (here.folder / "input").rename(here.folder / "input%d")
    assert here.run().status == 66


def test_a_huge_cover_is_not_decoded(node: Callable[..., Node], clip: Clip) -> None:
    result = node(bombs.huge_cover(clip(".flac").read_bytes(), side=12_000)).run()
    assert result.status == 0, result.stderr
    assert "exceeds specified max pixel count" in result.stderr


def test_an_output_may_take_half_of_the_free_disk_space(
    node: Callable[..., Node], clip: Clip, small_disk: Path
) -> None:
    here = node(clip(".flac", audio=60))
    shutil.copyfile(here.folder / "input", small_disk / "input")
    free_bytes = shutil.disk_usage(small_disk).free
    result = Node(small_disk, here.path).run(*PRESETS["wav"].arguments, output="output.wav")
    assert result.status != 0
    assert result.last_line == "runner: the output takes more than half of the free disk space"
    assert (small_disk / "output.wav").stat().st_size <= free_bytes / 2


@pytest.fixture
def limits_of_ffmpeg(
    clip: Clip, tmp_path: Path, tools_folder: Path
) -> Callable[..., tuple[int, int]]:
    """Return a function that returns the memory (KiB) and the file size (bytes) ffmpeg may use."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ffmpeg").write_text("#!/bin/sh\nulimit -v\nulimit -f\nexit 1\n")
    (tmp_path / "bin" / "ffmpeg").chmod(0o755)
    shutil.copyfile(clip(".wav"), tmp_path / "input")
    here = Node(tmp_path, f"{tmp_path}/bin:{tools_folder}")

    def limits(**settings: str) -> tuple[int, int]:
        done = subprocess.run(
            ["/bin/sh", str(RUNNER)],
            cwd=tmp_path,
            env=here.environment(("-c:a", "flac"), output="o.flac") | settings,
            capture_output=True,
            text=True,
            check=False,
        )
        memory_kib, blocks = map(int, done.stdout.split())
        return memory_kib, blocks * 512

    return limits


def total_kib() -> int:
    (found,) = re.findall(r"MemTotal: +(\d+)", Path("/proc/meminfo").read_text())
    return int(found)


NEEDS_MEMINFO = pytest.mark.skipif(
    not Path("/proc/meminfo").exists(), reason="requires /proc/meminfo"
)


@NEEDS_MEMINFO
def test_ffmpeg_may_use_three_quarters_of_the_memory_and_half_of_the_free_disk_space(
    limits_of_ffmpeg: Callable[..., tuple[int, int]], tmp_path: Path
) -> None:
    memory_kib, file_bytes = limits_of_ffmpeg()
    assert memory_kib == pytest.approx(total_kib() * 3 / 4, rel=0.01)
    assert file_bytes == pytest.approx(shutil.disk_usage(tmp_path).free / 2, rel=0.2)


@NEEDS_MEMINFO
@pytest.mark.parametrize(
    ("files", "share"), [("1", 1), ("2", 2), ("4", 4), ("0", 1), ("many", 1), ("-4", 1), ("", 1)]
)
def test_files_that_share_a_vcpu_share_the_memory_that_one_may_use(
    limits_of_ffmpeg: Callable[..., tuple[int, int]], files: str, share: int
) -> None:
    memory_kib, _ = limits_of_ffmpeg(FILES_PER_VCPU=files)
    assert memory_kib == pytest.approx(max(total_kib() * 3 / 4 / share, 1 << 20), rel=0.01)


@NEEDS_MEMINFO
def test_each_of_many_files_may_use_a_gibibyte_of_memory(
    limits_of_ffmpeg: Callable[..., tuple[int, int]],
) -> None:
    memory_kib, _ = limits_of_ffmpeg(FILES_PER_VCPU="4096")
    assert memory_kib == 1 << 20


def test_the_runner_and_the_probe_have_the_same_limits() -> None:
    (pixels,) = re.findall(r"^MOST_PIXELS=(.*)$", RUNNER.read_text(), re.MULTILINE)
    (formats,) = re.findall(r"^FORMATS=(.*)$", RUNNER.read_text(), re.MULTILINE)
    (seconds,) = re.findall(r"^MOST_SECONDS=(.*)$", RUNNER.read_text(), re.MULTILINE)
    (pause,) = re.findall(r"^PAUSE_SECONDS=(\d+)", RUNNER.read_text(), re.MULTILINE)
    assert int(pixels) == MOST_PIXELS
    assert int(seconds) == MOST_SECONDS
    assert int(pause) == PAUSE_SECONDS
    assert tuple(formats.split(",")) == FORMATS


def test_ffmpeg_ends_with_the_process_group_of_the_runner(
    node: Callable[..., Node], clip: Clip
) -> None:
    here = node(clip(".wav"))
    with (here.folder / "input").open("r+b") as source:  # a sparse file with hours of silence
        source.write(b"RIFF" + (0xFFFFFFFF).to_bytes(4, "little"))
        source.seek(source.read().index(b"data") + 12)
        source.write((0xFFFFFFFF).to_bytes(4, "little"))
        source.truncate(3_000_000_000)
    runner = subprocess.Popen(
        ["/bin/sh", str(RUNNER)],
        cwd=here.folder,
        env=here.environment(),
        start_new_session=True,
    )
    deadline = time.monotonic() + 20
    while not (here.folder / "output.mp3").exists() and time.monotonic() < deadline:
        os.sched_yield()
    os.killpg(runner.pid, signal.SIGTERM)
    assert runner.wait(timeout=10) == -signal.SIGTERM
    while time.monotonic() < deadline:  # ffmpeg still has to end
        try:
            os.killpg(runner.pid, 0)
        except ProcessLookupError:
            return
    pytest.fail("ffmpeg is still running after the runner has ended")
