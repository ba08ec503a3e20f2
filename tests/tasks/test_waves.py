import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from records import a_conversion, a_source

from tasks.completion import Completion
from tasks.models import BatchResult, Conversion, Diagnosis, Excerpt, Excerpted
from tasks.waves import Attempt, Pace, next_attempt, next_pace, next_wave, upload_bytes

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
