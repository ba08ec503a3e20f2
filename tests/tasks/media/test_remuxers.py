import asyncio
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from records import a_source

from tasks.media import remuxers
from tasks.media.probe import probe
from tasks.media.remuxers import Remuxers, process_count
from tasks.models import Excerpt, Extent, Source

Clip = Callable[..., Path]
EXCERPT, CLAIM = Excerpt((0,), "mov"), Extent(0, 2)
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of all temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
async def running() -> AsyncIterator[Remuxers]:
    async with Remuxers(source_bytes=1, at_once=2) as started:
        yield started


def source_of(path: Path) -> Source:
    found = path.stat()
    return a_source(location=str(path), size_bytes=found.st_size, version=str(found.st_mtime_ns))


def mode_of(path: Path) -> int:
    return path.stat().st_mode


def left_in(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


def child() -> int:
    """Return the id of the process that this process has started.

    For a moment after its start, its command line is empty.
    """
    deadline = time.monotonic() + 20
    while not (found := children()):
        assert time.monotonic() < deadline, "no process is running"
        os.sched_yield()
    return found[0]


def children() -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"tasks.media.remuxers" in words:
                found.append(int(entry.name))
    return found


def environment_of(process: int) -> bytes:
    return Path(f"/proc/{process}/environ").read_bytes()


async def is_sent(started: Remuxers, source: Source) -> bool:
    async with started.excerpt_file(source, EXCERPT, [CLAIM]) as path:
        return path is not None


async def test_an_excerpt_is_a_private_file_for_as_long_as_it_is_needed(
    running: Remuxers, clip: Clip, temporary: Path
) -> None:
    film = clip(".mp4")
    async with running.excerpt_file(source_of(film), EXCERPT, [CLAIM]) as path:
        assert path
        assert probe(str(path)).video is None
        assert mode_of(path.parent) & 0o077 == 0
    assert left_in(temporary) == []


async def test_what_cannot_be_an_excerpt_is_sent_whole(
    running: Remuxers, clip: Clip, tmp_path: Path, temporary: Path
) -> None:
    (tmp_path / "text.mp4").write_text("Dear diary")
    assert not await is_sent(running, source_of(tmp_path / "text.mp4"))
    assert not await is_sent(running, a_source(location=str(tmp_path / "none")))
    assert await is_sent(running, source_of(clip(".mp4")))
    assert left_in(temporary) == []


async def test_an_excerpt_that_is_larger_than_allowed_is_not_written(
    running: Remuxers, clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = source_of(clip(".mp4"))
    monkeypatch.setattr(remuxers, "MOST_BYTES", 1000)
    assert not await is_sent(running, film)
    monkeypatch.undo()
    assert await is_sent(running, film)


@on_linux
async def test_an_excerpt_may_be_as_large_as_the_limit_of_the_user(
    running: Remuxers, clip: Clip
) -> None:
    film, limit_bytes = source_of(clip(".mp4")), 1 << 20
    resource.prlimit(child(), resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
    assert await is_sent(running, replace(film, size_bytes=2 * limit_bytes))


@on_linux
async def test_a_film_that_crashes_the_process_is_sent_whole_and_the_next_is_not(
    running: Remuxers, clip: Clip
) -> None:
    film = source_of(clip(".mp4"))
    os.kill(child(), signal.SIGSEGV)
    assert not await is_sent(running, film)
    assert await is_sent(running, film)


async def test_a_film_that_takes_too_long_is_sent_whole(
    running: Remuxers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remuxers, "LEAST_SECONDS", 1)
    os.mkfifo(tmp_path / "a.mp4")  # to open it blocks
    assert not await is_sent(running, a_source(location=str(tmp_path / "a.mp4")))


async def test_a_process_that_never_works_costs_one_try(
    clip: Clip, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    async with Remuxers(source_bytes=0, at_once=1) as started:
        assert not await is_sent(started, source_of(clip(".mp4")))
        assert not await is_sent(started, source_of(clip(".mp4")))
    assert caplog.text.count("Whole files are sent") == 1


async def test_after_the_folder_for_temporary_files_has_disappeared_all_is_sent_whole(
    clip: Clip, temporary: Path, caplog: pytest.LogCaptureFixture
) -> None:
    film = source_of(clip(".mp4"))
    async with Remuxers(source_bytes=1, at_once=1) as started:
        shutil.rmtree(temporary)
        assert not await is_sent(started, film)
    assert "No such file or directory" in caplog.text


async def test_without_a_place_for_temporary_files_all_is_sent_whole(
    clip: Clip, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/none")
    async with Remuxers(source_bytes=1, at_once=1) as started:
        assert not await is_sent(started, source_of(clip(".mp4")))
    assert "No such file or directory" in caplog.text


@on_linux
async def test_the_environment_of_the_process_contains_no_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_KEY", "canary")
    async with Remuxers(source_bytes=1, at_once=1):
        assert b"canary" not in environment_of(child())


async def test_a_cancelled_upload_leaves_no_file_and_no_answer_for_the_next_one(
    running: Remuxers, clip: Clip, tmp_path: Path, temporary: Path
) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    waiting = asyncio.create_task(
        is_sent(running, a_source(location=str(tmp_path / "a.mp4"), size_bytes=1))
    )
    await asyncio.wait([waiting], timeout=0.2)
    assert len(left_in(temporary)) == 1
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert left_in(temporary) == []
    assert await is_sent(running, source_of(clip(".mp4")))


@on_linux
def test_the_folder_disappears_with_a_run_that_is_killed(temporary: Path) -> None:
    code = (
        "import asyncio, sys, time\n"
        "from tasks.media.remuxers import Remuxers\n"
        "async def main():\n"
        "    async with Remuxers(source_bytes=1, at_once=1) as started:\n"
        "        print('ready', flush=True)\n"
        "        time.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout
        parent.stdout.readline()
        assert list(temporary.iterdir())
        parent.kill()
    deadline = time.monotonic() + 20
    while list(temporary.iterdir()):
        assert time.monotonic() < deadline, "the folder is still there"
        os.sched_yield()


def test_few_bytes_get_one_process() -> None:
    assert process_count(0) == process_count(100 << 20) == 1
    assert process_count(1000 << 30) == os.cpu_count()
