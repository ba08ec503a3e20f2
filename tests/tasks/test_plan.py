import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient
from records import a_conversion, a_file, a_request, a_source

from storage_proxy import Refusal as Busy
from storage_proxy import StorageProxy
from tasks.azure.clients import blob_service
from tasks.errors import UsageError
from tasks.media.output_names import safe_name
from tasks.media.presets import PRESETS
from tasks.media.sandbox import ProbeProcess
from tasks.media.streams import Media, Stream, UnreadableMedia
from tasks.models import Conversion, Plan, Refusal, Stamp
from tasks.parameters import Output, Request, Run
from tasks.plan import (
    check,
    check_downloads,
    check_overlap,
    confirm_plan,
    divide,
    is_done,
    is_writable,
    judge,
    list_and_warm,
    make_plan,
    part_misfits,
    probe_all,
    refuse_unread,
    renew,
)


def test_done_is_what_has_an_output_under_its_own_key() -> None:
    conversion = a_conversion()
    assert is_done(conversion, {"a.mp3": Stamp(conversion.key, "/library/a.mp4")})
    assert not is_done(conversion, {"a.mp3": Stamp("0" * 32, "/library/a.mp4")})
    assert not is_done(conversion, {"b.mp3": Stamp(conversion.key, "/library/a.mp4")})


def test_force_leaves_nothing_done() -> None:
    conversion = a_conversion()
    outputs = {"a.mp3": Stamp(conversion.key, "")}
    assert divide([conversion], outputs=outputs, run=Run()) == ((conversion,), ())
    assert divide([conversion], outputs=outputs, run=Run(force=True)) == ((), (conversion,))


def test_a_plan_renewed_drops_what_is_converted_meanwhile_and_keeps_what_was_read() -> None:
    one, other = a_conversion(seconds=3.5), a_conversion(a_source("b.mp4"), seconds=4.5)
    refusal = Refusal(a_source("c.mp4"), "bad")
    plan = Plan(pending=(one, other), done=(), refused=(refusal,))
    outputs = {one.output: Stamp(one.key, one.source.location, preset="mp3")}
    renewed = renew(plan, a_request(), outputs=outputs)
    assert renewed.pending == (other,)
    assert renewed.done == (one,)
    assert renewed.refused == (refusal,)


async def test_the_loop_goes_on_while_a_large_plan_is_confirmed(
    containers: tuple[str, str], account: dict[str, str]
) -> None:
    class Pending(tuple[Conversion, ...]):
        __slots__ = ()

        def __iter__(self) -> Iterator[Conversion]:
            readers.add(threading.current_thread())
            return super().__iter__()

    assert account
    readers: set[threading.Thread] = set()
    plan = Plan(pending=Pending([a_conversion()]), done=(), refused=())
    assert await confirm_plan.fn(plan, a_request(containers)) == plan
    assert threading.main_thread() not in readers
    assert readers


def test_a_plan_renewed_gives_another_name_where_one_has_been_taken_meanwhile() -> None:
    plan = Plan(pending=(a_conversion(seconds=3.5),), done=(), refused=())
    renewed = renew(plan, a_request(), outputs={"a.mp3": Stamp("", "")})
    assert [(c.output, c.seconds) for c in renewed.pending] == [("a.mp4.mp3", 3.5)]


def test_a_plan_renewed_does_not_try_again_what_one_preset_refused() -> None:
    refusal = Refusal(a_source(), "it has no video stream", preset="webm")
    plan = Plan(pending=(a_conversion(),), done=(), refused=(refusal,))
    request = a_request(output={"presets": ["mp3", "webm"]})
    assert renew(plan, request, outputs={}) == plan


def test_no_source_is_an_error_that_says_so() -> None:
    with pytest.raises(UsageError, match="No source is named"):
        check(Request(sources=[]))


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("az://media", {"container": "media"}),
        ("az://media/", {"container": "media", "prefix": "mp3"}),
        ("az://media/mp3/old", {"container": "media", "prefix": "mp3"}),
        ("az://media/mp", {"container": "media", "prefix": "mp3"}),
        ("az://media/raw", {"container": "media"}),
    ],
)
def test_outputs_among_the_sources_of_a_container_are_refused(
    source: str, output: dict[str, str]
) -> None:
    with pytest.raises(UsageError, match=f"would lie inside the source '{source}'"):
        check_overlap([source], Output(**output))


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("az://media", {"container": "output"}),
        ("az://media/raw", {"container": "media", "prefix": "mp3"}),
        ("az://media/mp3-old", {"container": "media", "prefix": "mp3"}),
        ("az://media/raw/", {"container": "media", "prefix": "raw-mp3"}),
    ],
)
def test_outputs_beside_the_sources_of_a_container_are_fine(
    source: str, output: dict[str, str]
) -> None:
    check_overlap([source], Output(**output))


def test_downloads_into_a_source_folder_are_refused_and_beside_it_are_fine(tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    for inside in (library, library / "out", tmp_path / "x" / ".." / "library" / "out"):
        with pytest.raises(UsageError, match="would lie inside the source"):
            check_overlap([str(library)], Output(download_to=str(inside)))
    check_overlap([str(library)], Output(download_to=str(tmp_path / "library-mp3")))


def test_a_download_that_would_take_its_sources_place_is_refused(tmp_path: Path) -> None:
    source = a_file(tmp_path / "a.mp4")
    output = Output(download_to=str(tmp_path))
    check_downloads([a_conversion(source)], output)
    with pytest.raises(UsageError, match=r"The output of '.*a\.mp4' would take its place"):
        check_downloads([a_conversion(source, output="a.mp4")], output)
    check_downloads([a_conversion(source, output="a.mp4")], Output())


def test_a_folder_can_be_written_where_it_is_or_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert is_writable(tmp_path)
    assert is_writable(tmp_path / "new" / "newer")
    assert not is_writable(tmp_path / "file")
    assert not is_writable(tmp_path / "file" / "below")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_a_folder_that_only_seems_to_be_writable_is_not() -> None:
    assert not is_writable(Path("/proc/self"))


def test_an_empty_source_is_told_so_before_it_is_taken_for_this_folder() -> None:
    with pytest.raises(UsageError, match=r"The name of a source is empty\. Name a file"):
        check(Request(sources=[""], output=Output(download_to="out")))


def test_a_file_of_more_blocks_than_a_blob_has_is_refused_and_a_blob_of_them_is_not() -> None:
    vast = a_source(size_bytes=200 << 30)
    refusal = refuse_unread(vast)
    assert refusal
    assert refusal.reason.startswith("it is larger than 195 GiB: upload it yourself")
    assert refuse_unread(a_source(size_bytes=200 << 30, location="az://c/a.mp4")) is None
    assert refuse_unread(a_source(size_bytes=20 << 30)) is None


def test_what_azure_could_not_store_is_refused_and_the_others_are_not() -> None:
    deep = "/".join(["x" * 200] * 5) + "/a.mp4"
    fits = f"{deep[: -len('/a.mp4')]}/{'y' * 15}.mp4"
    folder = "\x01" * 90 + "/a.mp4"
    far = a_source("b.mp4", location="/" + "\u00e9" * 1200 + "/b.mp4")
    named = [
        *(a_conversion(a_source(name), output=safe_name(name)) for name in (fits, deep + "x" * 16)),
        a_conversion(a_source(folder), output=safe_name(folder)),
        a_conversion(far),
    ]
    fitting, refused = part_misfits(named)
    assert [c.source.name for c in fitting] == [fits]
    assert [r.reason.partition(":")[0] for r in refused] == [
        "the name of its output would have 1026 characters, and Azure allows 1024",
        "the name of an output folder would be longer than 255 bytes",
        "its path is too long for the metadata of its output",
    ]


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ({"download_to": "file"}, r"file is not a folder that can be written"),
        ({"download_to": "file/below"}, r"below is not a folder that can be written"),
        ({"report": "."}, r"is a folder"),
        ({"report": "file/r.json"}, r"file is not a folder that can be written"),
    ],
)
def test_a_place_that_cannot_be_written_is_told_before_anything_is_done(
    output: dict[str, str], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "a.mp4").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=problem):
        check(Request(sources=["a.mp4"], output=Output(**output)))


def test_a_judgement_is_the_seconds_or_the_reason() -> None:
    film = Media(audio=Stream(2.5), video=Stream(2), seconds=2.5)
    assert judge(a_conversion(), film, PRESETS["mp3"]) == a_conversion(seconds=2.5)
    silent = replace(film, audio=None)
    refused = judge(a_conversion(), silent, PRESETS["mp3"])
    reason = "no audio stream; preset mp3 requires one"
    assert refused == Refusal(a_source(), reason, preset="mp3")
    assert isinstance(judge(a_conversion(), silent, PRESETS["webm"]), Conversion)
    missing = UnreadableMedia("file not found")
    refused = judge(a_conversion(), missing, PRESETS["mp3"])
    assert refused == Refusal(a_source(), "file not found", preset="mp3")


def test_what_is_more_than_any_film_is_refused_only_where_it_would_be_converted() -> None:
    vast = Media(audio=Stream(2), video=Stream(2, pixels=30000 * 30000), seconds=2)
    assert isinstance(judge(a_conversion(), vast, PRESETS["mp3"]), Conversion)
    refused = judge(a_conversion(), vast, PRESETS["webm"])
    reason = "its pictures have 900,000,000 pixels; the limit is 134,217,728 (16K)"
    assert refused == Refusal(a_source(), reason, preset="webm")
    endless = Media(audio=Stream(1e9), video=None, seconds=1e9)
    refused = judge(a_conversion(), endless, PRESETS["mp3"])
    reason = "it declares a length of 277,778 hours: the file is damaged"
    assert refused == Refusal(a_source(), reason, preset="mp3")


async def test_one_look_judges_a_source_for_each_preset(
    account: dict[str, str], clip: Callable[..., Path], tmp_path: Path
) -> None:
    assert account
    film, silent = clip(".mp4", audio=2, video=3), clip(".mp4", audio=0)
    wanted = [
        a_conversion(a_source(location=str(path)), preset=PRESETS[name])
        for path in (film, silent, tmp_path / "none")
        for name in ("mp3", "webm")
    ]
    async with blob_service() as service:
        judged = await probe_all(service, wanted, PRESETS.values())
    assert [each.seconds if isinstance(each, Conversion) else each.preset for each in judged] == [
        pytest.approx(2, abs=0.1),
        pytest.approx(3, abs=0.1),
        "mp3",
        pytest.approx(2, abs=0.1),
        "mp3",
        "webm",
    ]


async def test_the_prober_is_warmed_where_not_all_can_be_done(
    account: dict[str, str], containers: tuple[str, str], blobs: BlobServiceClient
) -> None:
    async def is_warmed(*, files: int, force: bool = False) -> bool:
        request = a_request(containers, run=Run(force=force))
        async with blob_service() as service, ProbeProcess() as prober:
            assert list(await list_and_warm(service, request, prober, files=files)) == ["a.mp3"]
            return prober.is_warm

    assert account
    blobs.create_container(containers[0]).upload_blob("a.mp3", b"")
    assert not await is_warmed(files=1)
    assert await is_warmed(files=2)
    assert await is_warmed(files=1, force=True)


async def test_every_source_is_in_exactly_one_part_of_the_plan(
    blobs: BlobServiceClient,
    containers: tuple[str, str],
    in_flow: Callable[..., Any],
    clip: Callable[..., Path],
    tmp_path: Path,
) -> None:
    library = tmp_path / "library"
    good = clip(".mp4").read_bytes()
    for name, content in {"a.mp4": good, "b.mp4": good, "empty.mp4": b"", "text.mp4": b"x"}.items():
        a_file(library / name, content)
    request = a_request(containers).model_copy(update={"sources": [str(library)]})
    first = await in_flow(lambda: make_plan.fn(request))
    assert [c.source.name for c in first.pending] == ["a.mp4", "b.mp4"]
    assert {r.source.name for r in first.refused} == {"empty.mp4", "text.mp4"}
    done = first.pending[0]
    metadata = {"convertkey": done.key, "convertsource": done.source.location}
    blobs.create_container(containers[0]).upload_blob(done.output, b"mp3", metadata=metadata)
    second = await in_flow(lambda: make_plan.fn(request))
    assert [c.source.name for c in second.done] == ["a.mp4"]
    assert [c.source.name for c in second.pending] == ["b.mp4"]
    assert (await confirm_plan.fn(first, request)).pending == second.pending
    blobs.get_blob_client(containers[0], done.output).delete_blob()
    confirmed = await confirm_plan.fn(second, request)
    assert {c.source.name: c.seconds for c in confirmed.pending} == {
        "a.mp4": pytest.approx(2, abs=0.1),
        "b.mp4": pytest.approx(2, abs=0.1),
    }


async def test_a_blob_is_looked_at_again_where_storage_is_too_busy_at_first(
    blobs: BlobServiceClient,
    containers: tuple[str, str],
    in_flow: Callable[..., Any],
    clip: Callable[..., Path],
    storage_faults: StorageProxy,
) -> None:
    media = f"media-{containers[0]}"
    blobs.create_container(media).upload_blob("a.mp4", clip(".mp4").read_bytes())
    request = a_request(containers).model_copy(update={"sources": [f"az://{media}"]})
    storage_faults.order(Busy(status=503, method="GET", blob=f"{media}/a.mp4", times=2))
    plan = await in_flow(lambda: make_plan.fn(request))
    assert [c.source.name for c in plan.pending] == ["a.mp4"]
