"""Libraries that earlier versions of the presets converted: runs skip them until --force."""

import hashlib
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient

from storage_proxy import StorageProxy
from tasks.media import presets
from tasks.parameters import Run
from tasks.results.run_report import Report

Convert = Callable[..., Any]
Library = Callable[..., Path]
FIRST_KEYS = {  # of the first release, for files with the content "media a" and so on
    "a.mp3": "3b78402e63e80c78eebba035adf81f07",
    "a.opus": "1c1a4ed8b8b6c01df81c2f556d0cf4da",
    "b.mp3": "a3db89dd5f293b379ebb4ae0015e3ebd",
    "b.opus": "57fdbf52af8a4de1c8b81925cd68a864",
    "c.mp3": "6b14f5e6be198018db9e3f5d58e9aa41",
    "c.opus": "770454addde666a1558b660cb6c1b6cd",
}


def state_of(report: Report) -> dict[str, tuple[str, str | None]]:
    return {str(row.output): (row.state, row.reason or row.note) for row in report.files}


def skipped_by(preset: str) -> tuple[str, str]:
    reason = f"it was converted by an earlier version of preset {preset}"
    return "skipped", f"{reason}; --force converts it again"


@pytest.fixture
def upgrade(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function that raises the version of all presets, and changes their arguments."""

    def next_version(preset: presets.Preset) -> presets.Preset:
        return replace(
            preset,
            version=preset.version + 1,
            arguments=(*preset.arguments, "-metadata", "copyright=none"),
            earlier=(preset, *preset.earlier),
        )

    def run() -> None:
        after = {name: next_version(preset) for name, preset in presets.PRESETS.items()}
        monkeypatch.setattr(presets, "PRESETS", after)

    return run


@pytest.fixture
def upgraded(upgrade: Callable[[], None]) -> None:
    upgrade()


@pytest.fixture
def first_library(blobs: BlobServiceClient, containers: tuple[str, str], tmp_path: Path) -> Path:
    """Create a library with the outputs that the first release made of it. Return its folder."""
    folder = tmp_path / "library"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.mp4").write_text(f"media {name}")
    output = blobs.create_container(containers[0])
    for name, key in FIRST_KEYS.items():
        stem, _, preset = name.partition(".")
        stamp = {"convertsource": f"{folder}/{stem}.mp4", "convertpreset": preset}
        output.upload_blob(name, b"sound", metadata=stamp | {"convertkey": key})
    return folder


@pytest.mark.usefixtures("upgraded")
async def test_a_library_of_the_first_release_is_skipped_and_counted_in_one_line(
    convert: Convert, first_library: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "tasks.plan"):
        report = await convert(first_library, output={"presets": ["mp3", "opus"]})
    assert state_of(report) == {n: skipped_by(n.partition(".")[2]) for n in FIRST_KEYS}
    (line,) = [record.getMessage() for record in caplog.records if record.name == "tasks.plan"]
    assert line == (
        "Skipped 6 files that an earlier version of the preset converted."
        " To convert them again, use --force."
    )


@pytest.mark.usefixtures("upgraded")
async def test_a_run_recognises_outputs_of_earlier_versions_in_the_listing_of_its_plan(
    convert: Convert,
    first_library: Path,
    containers: tuple[str, str],
    storage_faults: StorageProxy,
) -> None:
    report = await convert(first_library, output={"presets": ["mp3", "opus"]})
    assert report.summary.skipped == len(FIRST_KEYS)
    listings = [r.blob for r in storage_faults.requests if r.comp == "list"]
    assert listings == [containers[0]] * 2  # the plan's, and the check of the permission to list


async def test_after_an_upgrade_only_changed_or_forced_sources_are_converted(
    convert: Convert, library: Library, samples: list[Path], upgrade: Callable[[], None]
) -> None:
    folder = library("a.mp4", "b.mp4")
    assert set(state_of(await convert(folder)).values()) == {("converted", None)}
    upgrade()
    assert state_of(await convert(folder)) == dict.fromkeys(["a.mp3", "b.mp3"], skipped_by("mp3"))

    shutil.copy(samples[2], folder / "a.mp4")
    replaced = "it replaced an earlier output: the source or the options have changed"
    assert state_of(await convert(folder)) == {
        "a.mp3": ("converted", replaced),
        "b.mp3": skipped_by("mp3"),
    }

    forced = await convert(folder, run=Run(force=True))
    assert state_of(forced) == {
        "a.mp3": ("converted", None),
        "b.mp3": ("converted", "it replaced the output of an earlier version of preset mp3"),
    }
    skipped = ("skipped", "it is already converted")
    assert state_of(await convert(folder)) == dict.fromkeys(["a.mp3", "b.mp3"], skipped)


def test_the_keys_are_hashes_of_content_name_and_arguments() -> None:
    """The rule of the first release, written out, so that the keys above can be checked."""
    content = hashlib.sha256(b"media a").hexdigest()
    mp3 = "-map 0:a:0 -map_metadata 0 -c:a libmp3lame -b:a 192k -id3v2_version 3"
    text = "\0".join([content, "a.mp3", *mp3.split()])
    assert hashlib.sha256(text.encode()).hexdigest()[:32] == FIRST_KEYS["a.mp3"]
