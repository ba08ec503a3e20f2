"""The start task: its command runs as it is, with the real apt in a root of its own."""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.parameters import Node
from tasks.start_task import start_task

LOCKS = ("lists/lock", "dpkg/lock-frontend")
HOLDER = """
import fcntl, sys
held = [open(path, "w") for path in sys.argv[1:]]
for file in held:
    fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""
CONTROL = """Package: ffmpeg
Version: 1
Architecture: all
Maintainer: Nobody <nobody@example.invalid>
Description: a program that does nothing
"""
# These three programs of a node replace the machine's. `sleep` moves the clock that `date` shows.
PROGRAMS = {
    "date": 'cat "$ROOT/clock"',
    "sleep": 'now=$(($(cat "$ROOT/clock") + $1)); echo $now >"$ROOT/clock"\n'
    '[ "$now" -ne "$RELEASE" ] || kill "$HOLDER"',
    "systemctl": 'echo "$*" >>"$ROOT/calls"',
}


@dataclass(frozen=True)
class AptRoot:
    """A folder with apt's and dpkg's files, and a package server that has only ffmpeg."""

    folder: Path

    @property
    def program(self) -> Path:
        return self.folder / "usr" / "bin" / "ffmpeg"

    @property
    def seconds(self) -> int:
        return int((self.folder / "clock").read_text())

    @property
    def calls(self) -> list[str]:
        """The calls of systemctl and of apt-get, in their order."""
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def run(
        self, *, holder: int | None = None, release_seconds: int | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the command of the start task. At this time of its clock, the holder is killed."""
        return subprocess.run(
            shlex.split(start_task(Node(ffmpeg="apt")).command_line),
            env={
                "PATH": f"{self.folder}/programs:{self.folder}/usr/bin",
                "ROOT": str(self.folder),
                "HOLDER": str(holder or "none"),  # never 0: the test's own processes
                "RELEASE": str(release_seconds or -1),
                "APT_CONFIG": str(self.folder / "apt.conf"),
                "DPKG_ROOT": str(self.folder),
                "DPKG_ADMINDIR": str(self.folder / "dpkg"),
                "DPKG_FORCE": "not-root",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


@pytest.fixture
def apt_root(tmp_path: Path) -> AptRoot:
    """Return a root without ffmpeg."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        pytest.skip("requires apt")
    for name in ("dpkg/info", "dpkg/updates", "lists/partial", "cache/archives/partial", "etc"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "dpkg" / "status").touch()
    (tmp_path / "clock").write_text("0")
    link_programs(tmp_path / "programs")
    serve_ffmpeg(tmp_path / "server")
    (tmp_path / "etc" / "sources.list").write_text(f"deb [trusted=yes] file:{tmp_path}/server ./")
    (tmp_path / "apt.conf").write_text(
        f'Dir "{tmp_path}"; Dir::State "{tmp_path}"; Dir::State::lists "lists";'
        f'Dir::State::status "{tmp_path}/dpkg/status"; Dir::Cache "{tmp_path}/cache";'
        f'Dir::Etc "{tmp_path}/etc"; Dir::Log "{tmp_path}"; APT::Sandbox::User "root";'
        f'APT::Update::Pre-Invoke {{ "echo apt-get >>{tmp_path}/calls"; }};'
        f'DPkg::Post-Invoke {{ "env >{tmp_path}/environment"; }};'
    )
    return AptRoot(tmp_path)


def link_programs(folder: Path) -> None:
    """Link the machine's programs, except ffmpeg and those that a node's replace."""
    folder.mkdir()
    for name, script in PROGRAMS.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    for directory in ("/usr/sbin", "/usr/bin", "/sbin", "/bin"):
        for path in Path(directory).iterdir():
            if path.name != "ffmpeg" and not os.path.lexists(folder / path.name):
                (folder / path.name).symlink_to(path)


def serve_ffmpeg(folder: Path) -> None:
    """Make a package server with one package."""
    package = folder / "package"
    (package / "DEBIAN").mkdir(parents=True)
    (package / "DEBIAN" / "control").write_text(CONTROL)
    program = package / "usr" / "bin" / "ffmpeg"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    file = folder / "ffmpeg.deb"
    build = ["dpkg-deb", "--root-owner-group", "--build", str(package), str(file)]
    subprocess.run(build, check=True, capture_output=True)
    content = file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    about = f"Filename: ./ffmpeg.deb\nSize: {len(content)}\nSHA256: {digest}\n"
    (folder / "Packages").write_text(CONTROL + about)


@pytest.fixture
def holder(apt_root: AptRoot) -> Iterator[int]:
    """Yield the id of a process that holds the locks of apt and of dpkg, as updates do."""
    paths = [str(apt_root.folder / name) for name in LOCKS]
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, *paths], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        yield process.pid
        process.kill()


def test_ffmpeg_is_installed_although_updates_hold_both_locks_for_nine_minutes(
    apt_root: AptRoot, holder: int
) -> None:
    ended = apt_root.run(holder=holder, release_seconds=540)
    assert "lists/lock. It is held by process" in ended.stderr
    assert "dpkg frontend lock" in ended.stderr
    assert ended.returncode == 0, ended.stderr
    assert apt_root.program.exists()
    assert 540 <= apt_root.seconds <= 560
    assert ended.stdout.splitlines()[-1] == str(apt_root.program)


def test_the_start_task_fails_with_the_reason_if_a_lock_is_held_for_longer_than_ten_minutes(
    apt_root: AptRoot, holder: int
) -> None:
    assert holder
    ended = apt_root.run()
    assert ended.returncode != 0
    assert apt_root.seconds == 600
    assert "lists/lock" in ended.stderr.splitlines()[-2]


def test_the_updates_of_the_image_are_stopped_before_apt_is_used(apt_root: AptRoot) -> None:
    assert apt_root.run().returncode == 0
    stopped, *later = apt_root.calls
    assert later == ["apt-get"]
    assert stopped.startswith("stop --no-block ")
    units = {f"apt-daily{end}.{kind}" for end in ("", "-upgrade") for kind in ("timer", "service")}
    assert set(stopped.split()[2:]) == units | {"unattended-upgrades.service"}


def test_packages_are_installed_without_questions_and_without_restarts_of_services(
    apt_root: AptRoot,
) -> None:
    assert apt_root.run().returncode == 0
    environment = (apt_root.folder / "environment").read_text().splitlines()
    assert {"DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1"} <= set(environment)
    assert apt_root.seconds == 0


def test_an_image_with_ffmpeg_needs_no_packages(apt_root: AptRoot) -> None:
    apt_root.program.parent.mkdir(parents=True)
    apt_root.program.write_text("#!/bin/sh\n")
    apt_root.program.chmod(0o755)
    assert apt_root.run().returncode == 0
    assert apt_root.calls == []


@pytest.mark.parametrize(
    ("ffmpeg", "expected"),
    [("apt", "apt-get install"), ("image", "'command -v ffmpeg'"), ("az://tools/ffmpeg", "cp -f")],
)
def test_the_start_task_provides_ffmpeg(ffmpeg: str, expected: str) -> None:
    start = start_task(Node(ffmpeg=ffmpeg), ffmpeg_url="https://a/b" if ":" in ffmpeg else None)
    assert expected in start.command_line
    assert "\n" not in start.command_line
    assert [file.http_url for file in start.resource_files or ()] == (
        ["https://a/b"] if ":" in ffmpeg else []
    )
