import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from socket import create_server
from typing import Any

import bombs
import pytest

from tasks.media import sandbox
from tasks.media.input_limits import MOST_PIXELS
from tasks.media.probe import probe
from tasks.media.sandbox import (
    CRASHED,
    MEMORY_BYTES,
    OUT_OF_MEMORY,
    REASONS,
    ProbeProcess,
    probe_each,
    process_count,
)
from tasks.media.streams import Media, UnreadableMedia

Clip = Callable[..., Path]
on_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux has this memory limit and /proc"
)


def children() -> set[int]:
    """Return the ids of the probe processes that this process has started."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == os.getpid() and b"tasks.media.sandbox" in words:
            found.add(int(entry.name))
    return found


def read(path: str) -> bytes:
    return Path(path).read_bytes()


async def test_results_have_the_order_of_the_files(clip: Clip, tmp_path: Path) -> None:
    strange = tmp_path / os.fsdecode(b"\xff 'a'\n\xc3\xa9.mp4")
    strange.write_bytes(clip(".mp4").read_bytes())
    (tmp_path / "text.mp4").write_text("Dear diary")
    paths = [strange, tmp_path / "text.mp4", clip(".mp3"), tmp_path / "none", clip(".mkv")]
    found = await probe_each((str(path) for path in paths), count=len(paths))
    assert [type(each) for each in found] == [Media, UnreadableMedia, Media, UnreadableMedia, Media]
    assert found[0] == probe(str(strange))
    assert str(found[1]) == "not a media file of a known format"
    assert found[4] == probe(str(clip(".mkv")))


async def test_without_files_no_process_starts() -> None:
    assert await probe_each([], count=0) == []


def test_few_files_get_few_processes() -> None:
    assert [process_count(count) for count in (0, 1, 63, 64)] == [1, 1, 1, 2]
    assert process_count(100_000) == (os.cpu_count() or 1) + 1


@on_linux
async def test_all_processes_have_ended_afterwards(clip: Clip) -> None:
    await probe_each([str(clip(".mp4"))] * 5, count=5)
    assert children() == set()


@on_linux
async def test_a_process_that_is_already_running_probes_the_first_file(clip: Clip) -> None:
    async with ProbeProcess() as process:
        await process.warm_up()
        warm = children()
        await process.warm_up()
        assert isinstance(await process.probe(str(clip(".mp4"))), Media)
        assert children() == warm
        await probe_each([str(clip(".mp4"))], count=1, first=process)
        assert children() == set()


@on_linux
async def test_a_file_that_needs_too_much_memory_is_refused_and_the_others_are_not(
    clip: Clip, tmp_path: Path
) -> None:
    bomb = tmp_path / "bomb.mov"
    bomb.write_bytes(bombs.huge_index(clip(".m4a").read_bytes(), free_bytes=MEMORY_BYTES))
    assert bomb.stat().st_size < MEMORY_BYTES / 100
    paths = (clip(".mp4"), bomb, clip(".mp3"))
    found = await probe_each((str(path) for path in paths), count=len(paths))
    assert [isinstance(each, Media) for each in found] == [True, False, True]
    assert str(found[1]) == REASONS[OUT_OF_MEMORY]


@on_linux
def test_a_huge_cover_is_not_decoded(clip: Clip, tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(bombs.huge_cover(clip(".flac").read_bytes(), side=12_000))
    assert MOST_PIXELS < 12_000**2
    code = (
        "import sys; from tasks.media.probe import probe; print(probe(sys.argv[1]).audio);"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    lines = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert lines[0].startswith("Sound(seconds=2.0")
    assert int(lines[1]) < 128 * 1024  # KiB; the picture has 550 MiB


@on_linux
async def test_a_file_that_crashes_the_probe_is_refused_and_the_next_is_probed(
    clip: Clip,
) -> None:
    async with ProbeProcess() as process:
        assert isinstance(await process.probe(str(clip(".mp4"))), Media)
        (child,) = children()
        os.kill(child, signal.SIGSEGV)
        refused = await process.probe(str(clip(".mp4")))
        assert (type(refused), str(refused)) == (UnreadableMedia, CRASHED)
        assert isinstance(await process.probe(str(clip(".mp4"))), Media)


async def test_a_file_that_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "SECONDS", 1)
    with create_server(("127.0.0.1", 0)) as silent:
        (refused,) = await probe_each(
            [f"http://127.0.0.1:{silent.getsockname()[1]}/a.mp4"], count=1
        )
    assert str(refused) == REASONS[-signal.SIGALRM]


async def test_an_unexpected_error_refuses_only_the_file_that_caused_it(clip: Clip) -> None:
    number: Any = 5  # no real file is known that raises an unexpected error
    found = await probe_each([number, str(clip(".mp4"))], count=2)
    assert (
        str(found[0]) == "the media probe failed (AttributeError): the file is damaged or unusual"
    )
    assert isinstance(found[1], Media)


@on_linux
@pytest.mark.parametrize("name", ["AZURE_STORAGE_KEY", "LOCAL_AZURE_PAGE"])
async def test_the_environment_of_the_process_contains_no_keys(
    clip: Clip, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "canary")
    async with ProbeProcess() as process:
        await process.probe(str(clip(".mp4")))
        (child,) = children()
        assert b"canary" not in read(f"/proc/{child}/environ")


async def test_a_probe_that_never_works_is_an_error_and_not_a_reason_for_the_file(
    clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(RuntimeError, match="probe process failed"):
        await probe_each([str(clip(".mp4"))], count=1)


def test_the_process_ends_with_its_parent(clip: Clip) -> None:
    code = (
        "import asyncio, sys, time\n"
        "from tasks.media.sandbox import ProbeProcess\n"
        "async def main():\n"
        "    async with ProbeProcess() as process:\n"
        "        await process.probe(sys.argv[1])\n"
        "        print(process._process.pid, flush=True)\n"
        "        time.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, clip(".mp4")], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        os.sched_yield()
    pytest.fail("the child is still running after its parent has ended")
