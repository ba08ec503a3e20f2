import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from azure.batch import BatchClient, models
from azure.storage.blob import BlobServiceClient
from records import MP3, a_conversion, a_file, a_plan, a_request, a_source, a_ticket

from tasks.completion import Completion
from tasks.media.expected_work import expected_seconds_of_work
from tasks.media.presets import PRESETS
from tasks.media.remuxers import Remuxers
from tasks.models import BatchResult, Conversion, Diagnosis, Excerpt, Excerpted, Refusal
from tasks.results.forecast import REQUEST_BYTES
from tasks.run import RunState
from tasks.waves import (
    Attempt,
    Pace,
    first_attempt,
    next_attempt,
    next_pace,
    next_wave,
    send_waves,
    upload_bytes,
    without,
)

MB = 1_000_000


def films(*sizes_bytes: int) -> list[Conversion]:
    return [
        a_conversion(source=a_source(f"{n}.mp4", size_bytes=size), content=f"c{n}")
        for n, size in enumerate(sizes_bytes)
    ]


def sizes_of_waves(films: Sequence[Conversion], *, seconds_a_megabyte: float) -> list[int]:
    """Of waves that go up on a line of that speed."""
    pace, sizes = Pace(), []
    while films:
        wave = next_wave(films, pace, present=(), at_once=8)
        megabytes = sum(film.source.size_bytes for film in wave)
        seconds = megabytes / MB * seconds_a_megabyte
        pace = next_pace(len(wave), uploaded_bytes=megabytes, seconds=seconds)
        films = films[len(wave) :]
        sizes.append(len(wave))
    return sizes


@pytest.mark.parametrize(
    ("sizes_bytes", "seconds_a_megabyte", "sizes"),
    [
        ([MB] * 5, 0.001, [5]),
        ([MB] * 800, 0.001, [8, 32, 100, 400, 200, 60]),
        ([MB] * 300, 0.02, [8, 32, 100, 100, 60]),  # 250 go up in five seconds
        ([7 * MB] * 60, 0.05, [8, 14, 14, 14, 10]),  # five seconds each
        ([1000 * MB] * 20, 0.05, [8, 8, 4]),
        ([MB] * 8 + [1000 * MB] * 20, 0.05, [8, 8, 8, 4]),
    ],
)
def test_waves_grow_fourfold_or_are_what_goes_up_in_seconds_and_never_leave_the_line_idle(
    sizes_bytes: list[int], seconds_a_megabyte: float, sizes: list[int]
) -> None:
    assert sizes_of_waves(films(*sizes_bytes), seconds_a_megabyte=seconds_a_megabyte) == sizes


def test_what_is_in_storage_already_takes_no_time_to_upload() -> None:
    here, there = films(MB, MB)
    in_container = a_conversion(source=a_source(location="az://media/a.mp4", size_bytes=MB))
    given = [upload_bytes(c, {there.content}) for c in (here, there, in_container)]
    assert given == [MB, 0, 0]
    assert next_pace(8, uploaded_bytes=0, seconds=60) == Pace(32, math.inf)


def test_the_first_small_waves_have_the_longest_files() -> None:
    clips = [a_conversion(a_source(f"{n}.mp4"), content=f"c{n}", seconds=7) for n in range(20)]
    film = a_conversion(a_source("film.mp4"), content="film", seconds=7200)
    attempt = first_attempt(a_plan(*clips, film), present=())
    assert attempt.conversions == [film, *clips]
    assert next_wave(attempt.conversions, Pace(), present=(), at_once=8)[0] is film
    crashed = tuple(
        BatchResult(c.key, 1, "failed", exit_code=139, code="FailureExitCode")
        for c in (*clips, film)
    )
    again = next_attempt(attempt, Completion(crashed, None), retries=1)
    assert again
    assert again.conversions[0] is film


@pytest.fixture
def run(
    batch: BatchClient, blobs: BlobServiceClient, containers: tuple[str, str]
) -> Iterator[RunState]:
    """Yield a run with containers and a job. Its pool does not exist."""
    for container in containers:
        blobs.create_container(container)
    request = a_request(containers, output={"presets": ["mp3", "m4a"]})
    state = RunState(request=request, ticket=a_ticket())
    info = models.BatchPoolInfo(pool_id=state.ticket.pool_id)
    batch.create_job(models.BatchJobCreateOptions(id=state.ticket.job_id, pool_info=info))
    yield state
    batch.begin_delete_job(state.ticket.job_id)


async def test_presets_of_a_source_share_an_upload_in_any_order_and_refused_files_are_no_work(
    run: RunState, in_flow: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="tasks.uploads")
    sources = [a_file(tmp_path / f"{n}.mp4", b"%d" % n) for n in range(10)]
    presets = [MP3, PRESETS["m4a"]]
    conversions = [
        a_conversion(source, content=f"{n:032x}", preset=preset, seconds=60)
        for n, source in enumerate(sources)
        for preset in presets
    ]
    (tmp_path / "3.mp4").write_bytes(b"changed")
    attempt = first_attempt(a_plan(*conversions), present=())
    run.tally.files = len(conversions)
    async with Remuxers(source_bytes=0, at_once=1) as remuxers:
        await in_flow(lambda: send_waves(run, attempt, remuxers))
    uploads = [int(count) for count in re.findall(r"Wave \d: (\d+) of \d+ files", caplog.text)]
    assert uploads == [8, 3]  # the changed one again
    assert [c.preset for c in attempt.conversions] == ["m4a"] * 10 + ["mp3"] * 10
    assert (run.tally.submitted, run.tally.refused) == (18, 2)
    works = [expected_seconds_of_work(c) for c in attempt.conversions]
    assert list(run.tally.forecast.sending.works) == works[:9] + works[-9:]
    assert run.tally.forecast.sending.is_closed
    assert (
        list(run.tally.forecast.sending.uploads) == [REQUEST_BYTES + 1] * 10 + [REQUEST_BYTES] * 10
    )


def test_a_preset_of_a_source_that_batch_refuses_does_not_refuse_the_others() -> None:
    one, other = a_conversion(), a_conversion(preset=PRESETS["m4a"])
    assert without([one, other], [Refusal(one.source, "no", preset="mp3")]) == [other]


def cut(film: Conversion) -> Conversion:
    """Return the conversion of an excerpt of a film."""
    return replace(film, excerpted=Excerpted(Excerpt((0,), "mov"), 20, (), (), ()))


def test_of_an_excerpt_its_expected_bytes_take_time_to_upload() -> None:
    (film,) = films(MB)
    part = cut(film)
    assert [upload_bytes(part, present) for present in ((), {"c0"}, {"c0-a0-mov"})] == [20, 0, 0]


def test_after_a_failure_of_an_excerpt_the_whole_source_is_sent_unless_a_transfer_failed() -> None:
    rejected, crashed, lost = map(cut, films(MB, MB, MB))
    results = (
        BatchResult(rejected.key, 1, "failed", exit_code=65, code="FailureExitCode"),
        BatchResult(crashed.key, 1, "failed", exit_code=139, code="FailureExitCode"),
        BatchResult(lost.key, 1, "failed", code="BlobNotFound"),
    )
    first = Attempt(1, (rejected, crashed, lost), present=())
    sent = {1: {result.key for result in results}}
    second = next_attempt(first, Completion(results, None), retries=1, excerpts=sent)
    whole = [replace(each, excerpted=None) for each in (rejected, crashed)]
    assert second == Attempt(2, [*whole, lost], present=set())
    again = BatchResult(rejected.key, 2, "failed", exit_code=65, code="FailureExitCode")
    assert (
        next_attempt(second, Completion((*results, again), None), retries=1, excerpts=sent) is None
    )


def test_the_next_attempt_uploads_again_only_what_a_failed_transfer_may_have_lost() -> None:
    crashed, lost, rejected = films(MB, MB, MB)
    results = (
        BatchResult(crashed.key, 1, "failed", exit_code=139, code="FailureExitCode"),
        BatchResult(lost.key, 1, "failed", code="BlobNotFound"),
        BatchResult(rejected.key, 1, "failed", exit_code=65, code="FailureExitCode"),
    )
    first = Attempt(1, (crashed, lost, rejected), present=())
    second = next_attempt(first, Completion(results, None), retries=1)
    assert second == Attempt(2, [crashed, lost], present={crashed.content})
    ended = Completion(results, Diagnosis("DeadlinePassed", "", "", ""))
    assert next_attempt(first, ended, retries=1) is None
