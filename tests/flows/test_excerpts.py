"""Whole runs that upload only the sound of films."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient

from tasks.azure.clients import blob_service
from tasks.known_failures import recall
from tasks.media import excerpts
from tasks.naming import OWN, input_blob, lock_id
from tasks.parameters import Cleanup, Output, Request
from tasks.results.run_report import Report

Convert = Callable[..., Any]
KEPT = {"inputs": "keep"}


@pytest.fixture(autouse=True)
def excerpts_of_tiny_films(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excerpts, "LEAST_SAVED_BYTES", 1)


@pytest.fixture
def film(clip: Callable[..., Path]) -> Path:
    return clip(".mp4", audio=5, video=5, size=(320, 240), chapters=("One", "Two"))


@pytest.fixture
def inputs(blobs: BlobServiceClient, containers: tuple[str, str]) -> ContainerClient:
    return blobs.get_container_client(containers[1])


def uploads(inputs: ContainerClient, containers: tuple[str, str]) -> dict[str, int]:
    """Return the sizes of the uploads by their names."""
    folder = input_blob(lock_id(containers[0], ""), "")
    return {b.name.removeprefix(folder): b.size for b in inputs.list_blobs(folder)}


def excerpt_name(film: Path) -> str:
    return f"{hashlib.sha256(film.read_bytes()).hexdigest()}-a0-mov"


def bytes_of(path: Path) -> int:
    return path.stat().st_size


def sizes(report: Report) -> list[tuple[int, int]]:
    return [(file.source_bytes, file.sent_bytes) for file in report.files]


async def test_a_film_is_sent_as_its_sound_once_for_all_presets_and_not_again_in_the_next_run(
    convert: Convert, film: Path, inputs: ContainerClient, containers: tuple[str, str]
) -> None:
    output = {"presets": ["mp3", "wav"]}
    report = await convert(film, output=output, cleanup=KEPT)
    (name, size_bytes), *others = uploads(inputs, containers).items()
    assert (name, others) == (excerpt_name(film), [])
    film_bytes = bytes_of(film)
    assert 0 < size_bytes < film_bytes
    assert [file.state for file in report.files] == ["converted", "converted"]
    assert sizes(report) == [(film_bytes, size_bytes), (film_bytes, 0)]
    assert (report.summary.source_bytes, report.summary.sent_bytes) == (film_bytes, size_bytes)
    again = await convert(film, output=output, cleanup=KEPT, run={"force": True})
    assert [file.state for file in again.files] == ["converted", "converted"]
    assert again.summary.sent_bytes == 0


async def test_outputs_of_an_excerpt_and_of_the_whole_film_are_equal(
    convert: Convert,
    film: Path,
    blobs: BlobServiceClient,
    inputs: ContainerClient,
    containers: tuple[str, str],
) -> None:
    found = []
    for upload in ("needed", "whole"):
        report = await convert(film, output={"upload": upload, "prefix": upload})
        (row,) = report.files
        assert (row.sent_bytes == row.source_bytes) is (upload == "whole")
        output = blobs.get_blob_client(containers[0], row.output).download_blob().readall()
        found.append((row.output_seconds, output))
    assert found[0] == found[1]
    assert uploads(inputs, containers) == {}


async def test_a_preset_that_needs_the_film_makes_all_presets_use_the_whole_file(
    convert: Convert, film: Path, inputs: ContainerClient, containers: tuple[str, str]
) -> None:
    await convert(film, output={"presets": ["mp3", "mp4-720p"]}, cleanup=KEPT)
    assert list(uploads(inputs, containers).values()) == [bytes_of(film)]


async def test_a_film_that_is_cut_short_is_sent_whole_and_fails_as_ever(
    convert: Convert, cut: bytes, tmp_path: Path
) -> None:
    (tmp_path / "a.mp4").write_bytes(cut)
    report = await convert(tmp_path / "a.mp4")
    (row,) = report.files
    assert row.state == "failed"
    assert "the source is cut short" in str(row.reason)
    assert (row.attempts, row.sent_bytes) == (1, len(cut))


async def test_a_film_is_not_blamed_for_its_excerpt_but_tried_whole(
    convert: Convert,
    film: Path,
    blobs: BlobServiceClient,
    containers: tuple[str, str],
) -> None:
    inputs = blobs.create_container(containers[1])
    name = input_blob(lock_id(containers[0], ""), excerpt_name(film))
    inputs.upload_blob(name, b"no sound", metadata=OWN)
    report = await convert(film)
    (row,) = report.files
    assert (row.state, row.attempts) == ("converted", 2)
    assert row.sent_bytes == bytes_of(film)
    request = Request(
        sources=[""],
        output=Output(container=containers[0]),
        cleanup=Cleanup(container=containers[1]),
    )
    async with blob_service() as service:
        assert (await recall(service, request)).memory.failures == {}
