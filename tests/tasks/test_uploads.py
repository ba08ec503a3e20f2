import asyncio
import os
import tracemalloc
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobServiceClient, ContainerClient
from records import a_conversion, a_file, a_request, a_source, a_ticket

import storage_proxy
from storage_proxy import Hold, StorageProxy
from tasks.media.remuxers import Remuxers
from tasks.models import Conversion, Excerpt, Excerpted, Extent, Refusal, Source, Ticket
from tasks.naming import input_blob
from tasks.parameters import Limits
from tasks.uploads import CHANGED, Uploads, as_sent, missing_inputs, upload_wave

TICKET = a_ticket()
MEBIBYTE = 1024 * 1024


@pytest.fixture
def inputs(blobs: BlobServiceClient, containers: tuple[str, str]) -> ContainerClient:
    return blobs.create_container(containers[1])


@pytest.fixture
def upload(inputs: ContainerClient, containers: tuple[str, str]) -> Any:
    """Return a function that uploads a wave and returns the refusals."""
    assert inputs

    async def run(*conversions: Conversion, present: tuple[str, ...] = ()) -> tuple[Refusal, ...]:
        given: Any = {"wave": 1, "ticket": TICKET, "request": a_request(containers)}
        async with some_uploads(*present) as uploads:
            return await upload_wave.fn(conversions, uploads=uploads, **given)

    return run


@asynccontextmanager
async def some_uploads(*present: str) -> AsyncIterator[Uploads]:
    async with Remuxers(source_bytes=0, at_once=1) as remuxers:
        yield Uploads(set(present), {}, remuxers)


def uploaded(inputs: ContainerClient, ticket: Ticket = TICKET) -> dict[str, int]:
    folder = input_blob(ticket.lock_id, "")
    blobs = inputs.list_blobs(folder)
    return {blob.name.removeprefix(folder): blob.size for blob in blobs}


def test_equal_contents_are_uploaded_once() -> None:
    one, two = a_conversion(a_source("a.mp4")), a_conversion(a_source("b.mp4"))
    other = a_conversion(a_source("c.mp4"), content="c1")
    missing = missing_inputs([one, two, other], ())
    assert missing == {"c0": [one, two], "c1": [other]}
    assert missing_inputs([one, two, other], {"c0"}) == {"c1": [other]}


def test_a_blob_is_not_uploaded() -> None:
    blob = a_source(location="az://media/a.mp4")
    assert missing_inputs([a_conversion(blob)], ()) == {}


async def test_a_file_is_uploaded_under_the_hash_of_its_content(
    upload: Any, inputs: ContainerClient, tmp_path: Path
) -> None:
    source = a_file(tmp_path / "it's é.mp4", b"media")
    assert await upload(a_conversion(source)) == ()
    assert inputs.download_blob(input_blob(TICKET.lock_id, "c0")).readall() == b"media"


async def test_equal_files_are_uploaded_once_and_present_contents_not_at_all(
    upload: Any, inputs: ContainerClient, tmp_path: Path
) -> None:
    one, two = a_file(tmp_path / "a.mp4"), a_file(tmp_path / "b.mp4")
    there = a_conversion(a_file(tmp_path / "c.mp4"), content="c1")
    await upload(a_conversion(one), a_conversion(two), there, present=("c1",))
    assert list(uploaded(inputs)) == ["c0"]


async def test_a_file_that_changed_since_the_plan_is_refused_and_the_others_are_uploaded(
    upload: Any, inputs: ContainerClient, tmp_path: Path
) -> None:
    changed = a_conversion(a_file(tmp_path / "a.mp4"), content="c0")
    good = a_conversion(a_file(tmp_path / "b.mp4"), content="c1")
    (tmp_path / "a.mp4").write_bytes(b"something else")
    assert await upload(changed, good) == (Refusal(changed.source, CHANGED, "a.mp3", "mp3"),)
    assert list(uploaded(inputs)) == ["c1"]


async def test_a_file_of_the_same_length_but_another_time_has_changed(
    upload: Any, inputs: ContainerClient, tmp_path: Path
) -> None:
    conversion = a_conversion(a_file(tmp_path / "a.mp4"))
    os.utime(tmp_path / "a.mp4", ns=(0, 0))
    (refused,) = await upload(conversion)
    assert refused.reason == CHANGED
    assert uploaded(inputs) == {}


async def test_a_file_that_changes_while_it_is_uploaded_is_refused_and_its_blob_deleted(
    upload: Any, inputs: ContainerClient, tmp_path: Path, storage_faults: StorageProxy
) -> None:
    conversion = a_conversion(a_file(tmp_path / "a.mp4", b"planned"))
    hold = Hold(method="PUT", blob="*/inputs/*")
    storage_faults.order(hold)
    uploading = asyncio.create_task(upload(conversion))
    await storage_faults.first_request(uploading, lambda request: request.method == "PUT")
    (tmp_path / "a.mp4").write_bytes(b"another")
    storage_faults.withdraw(hold)
    assert [refusal.reason for refusal in await uploading] == [CHANGED]
    assert [r.method for r in storage_faults.requests] == ["PUT", "DELETE"]
    assert uploaded(inputs) == {}


async def test_what_an_earlier_try_left_of_a_changed_file_is_deleted(
    upload: Any, inputs: ContainerClient, tmp_path: Path
) -> None:
    conversion = a_conversion(a_file(tmp_path / "a.mp4"))
    inputs.upload_blob(input_blob(TICKET.lock_id, "c0"), b"something else")
    (tmp_path / "a.mp4").write_bytes(b"something else")
    assert [refusal.reason for refusal in await upload(conversion)] == [CHANGED]
    assert uploaded(inputs) == {}


async def test_a_missing_file_and_a_folder_in_its_place_are_refused(
    upload: Any, tmp_path: Path
) -> None:
    gone = a_conversion(a_file(tmp_path / "a.mp4"), content="c0")
    folder = a_conversion(a_file(tmp_path / "b.mp4"), content="c1")
    (tmp_path / "a.mp4").unlink()
    (tmp_path / "b.mp4").unlink()
    (tmp_path / "b.mp4").mkdir()
    assert {r.source.name: r.reason for r in await upload(gone, folder)} == {
        "a.mp4": "cannot be read: No such file or directory",
        "b.mp4": "cannot be read: Is a directory",
    }


async def test_a_missing_file_is_replaced_by_one_with_equal_content(
    upload: Any, inputs: ContainerClient, tmp_path: Path
) -> None:
    one, two = a_file(tmp_path / "a.mp4"), a_file(tmp_path / "b.mp4")
    (tmp_path / "a.mp4").unlink()
    assert await upload(a_conversion(one), a_conversion(two)) == ()
    assert list(uploaded(inputs)) == ["c0"]


@pytest.mark.filterwarnings("ignore:Sending a large body")  # the SDK sends blocks as bytes
async def test_a_large_file_is_uploaded_in_blocks_with_bounded_memory(
    upload: Any, inputs: ContainerClient, tmp_path: Path
) -> None:
    source = a_file(tmp_path / "a.mp4", bytes(64 * MEBIBYTE))
    tracemalloc.start()
    try:
        assert await upload(a_conversion(source)) == ()
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert uploaded(inputs) == {"c0": 64 * MEBIBYTE}
    blob = inputs.get_blob_client(input_blob(TICKET.lock_id, "c0"))
    blocks, _ = blob.get_block_list()
    assert {block.size for block in blocks} == {4 * MEBIBYTE}
    assert peak_bytes < 24 * MEBIBYTE


async def test_a_retry_after_an_outage_uploads_only_what_is_missing(
    inputs: ContainerClient,
    containers: tuple[str, str],
    storage_faults: StorageProxy,
    tmp_path: Path,
) -> None:
    wave = [
        a_conversion(a_file(tmp_path / f"{number}.mp4"), content=f"c{number}")
        for number in range(3)
    ]
    limits = Limits(uploads_at_once=1)
    given: Any = {"wave": 1, "ticket": TICKET, "request": a_request(containers, limits=limits)}
    storage_faults.order(storage_proxy.Refusal(status=403, blob="*/c1", times=1))
    async with some_uploads() as uploads:
        with pytest.raises(HttpResponseError):
            await upload_wave.fn(wave, uploads=uploads, **given)
        assert uploads.present == {"c0"}
        storage_faults.requests.clear()
        assert await upload_wave.fn(wave, uploads=uploads, **given) == ()
    assert [request.blob[-2:] for request in storage_faults.requests] == ["c1", "c2"]
    assert list(uploaded(inputs)) == ["c0", "c1", "c2"]


SOUND = Excerpted(Excerpt((0,), "mov"), 1, ("-x", "1"), (), (Extent(0, 2),))


@pytest.fixture
def film(clip: Callable[..., Path], tmp_path: Path) -> Source:
    return a_file(tmp_path / "film.mp4", clip(".mp4").read_bytes())


async def test_of_a_film_the_sound_is_uploaded_under_a_name_that_says_so(
    upload: Any, inputs: ContainerClient, film: Source
) -> None:
    part = a_conversion(film, sounds=(Extent(0, 2),), excerpted=SOUND)
    assert await upload(part) == ()
    ((name, size_bytes),) = uploaded(inputs).items()
    assert name == "c0-a0-mov"
    assert size_bytes < film.size_bytes
    assert await upload(part, present=("c0-a0-mov",)) == ()
    assert await upload(part, present=("c0",)) == ()
    assert list(uploaded(inputs)) == ["c0-a0-mov"]


async def test_a_film_that_some_need_whole_is_uploaded_whole_and_once(
    upload: Any, inputs: ContainerClient, film: Source
) -> None:
    part = a_conversion(film, sounds=(Extent(0, 2),), excerpted=SOUND)
    await upload(part, replace(part, excerpted=None))
    assert uploaded(inputs) == {"c0": film.size_bytes}


async def test_a_film_whose_sound_is_not_as_declared_is_uploaded_whole(
    upload: Any, inputs: ContainerClient, film: Source
) -> None:
    await upload(a_conversion(film, sounds=(Extent(0, 60),), excerpted=SOUND))
    assert uploaded(inputs) == {"c0": film.size_bytes}


async def test_a_film_that_changed_since_the_plan_is_refused(
    upload: Any, inputs: ContainerClient, film: Source
) -> None:
    changed = replace(film, version="1")
    part = a_conversion(changed, sounds=(Extent(0, 2),), excerpted=SOUND)
    assert [refusal.reason for refusal in await upload(part)] == [CHANGED]
    assert uploaded(inputs) == {}


class MeddlingRemuxers(Remuxers):
    """Remuxers that do something to each source as soon as its excerpt is written."""

    meddle: Callable[[Path], object]

    @asynccontextmanager
    async def excerpt_file(
        self, source: Source, excerpt: Excerpt, claims: Sequence[Extent]
    ) -> AsyncIterator[Path | None]:
        async with super().excerpt_file(source, excerpt, claims) as path:
            assert path
            self.meddle(Path(source.location))
            yield path


@pytest.mark.parametrize(
    ("meddle", "reason"),
    [
        pytest.param(lambda path: path.write_bytes(b"another"), CHANGED, id="replaced"),
        pytest.param(lambda path: os.truncate(path, 1000), CHANGED, id="shortened"),
        pytest.param(lambda path: os.utime(path, ns=(0, 0)), CHANGED, id="written again"),
        pytest.param(os.unlink, "cannot be read: No such file or directory", id="deleted"),
    ],
)
async def test_a_film_that_changes_while_its_sound_is_copied_is_refused(
    inputs: ContainerClient,
    containers: tuple[str, str],
    film: Source,
    meddle: Callable[[Path], object],
    reason: str,
) -> None:
    part = a_conversion(film, sounds=(Extent(0, 2),), excerpted=SOUND)
    given: Any = {"wave": 1, "ticket": TICKET, "request": a_request(containers)}
    async with MeddlingRemuxers(source_bytes=0, at_once=1) as remuxers:
        remuxers.meddle = meddle
        uploads = Uploads(set(), {}, remuxers)
        assert await upload_wave.fn([part], uploads=uploads, **given) == (
            Refusal(film, reason, part.output, part.preset),
        )
    assert (uploads.present, uploads.sent, uploaded(inputs)) == (set(), {}, {})


async def test_a_film_that_changes_while_its_excerpt_is_uploaded_is_converted_as_planned(
    upload: Any,
    inputs: ContainerClient,
    tmp_path: Path,
    film: Source,
    storage_faults: StorageProxy,
) -> None:
    part = a_conversion(film, sounds=(Extent(0, 2),), excerpted=SOUND)
    hold = Hold(method="PUT", blob="*/inputs/*")
    storage_faults.order(hold)
    uploading = asyncio.create_task(upload(part))
    await storage_faults.first_request(uploading, lambda request: request.method == "PUT")
    (tmp_path / "film.mp4").unlink()
    storage_faults.withdraw(hold)
    assert await uploading == ()
    assert list(uploaded(inputs)) == ["c0-a0-mov"]


def test_a_conversion_has_the_arguments_for_what_was_sent() -> None:
    whole = a_conversion(arguments=("-y", "2"), sounds=(Extent(0, 2, track=1),), excerpted=SOUND)
    part = as_sent(whole, {"c0-a0-mov"})
    assert (part.arguments, part.sounds) == (SOUND.arguments, SOUND.sounds)
    assert part.excerpt == Excerpt((0,), "mov")
    assert as_sent(whole, {"c0"}) == as_sent(whole, {"c0", "c0-a0-mov"})
    assert as_sent(whole, {"c0"}) == replace(whole, excerpted=None)
