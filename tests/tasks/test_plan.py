import operator
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from azure.storage.blob import BlobServiceClient
from records import NOW, a_conversion, a_file, a_request, a_source

from storage_proxy import Refusal as Busy
from storage_proxy import StorageProxy
from tasks.azure.clients import blob_service
from tasks.media.output_names import safe_name
from tasks.media.presets import PRESETS
from tasks.media.sandbox import ProbeProcess
from tasks.media.streams import Media, Sound, Stream, UnreadableMedia
from tasks.media.tag_arguments import format_arguments
from tasks.models import Conversion, Existing, Extent, KnownFailure, Plan, Refusal, Stamp
from tasks.parameters import Output, Run
from tasks.plan import (
    apply_probe,
    confirm_plan,
    find_sources,
    list_and_warm,
    make_plan,
    probe_all,
    refuse_unusable,
    separate_done,
    separate_misfits,
    update_plan,
)

MP4 = "mov,mp4,m4a,3gp,3g2,mj2"


def test_a_conversion_is_done_if_this_or_an_earlier_version_made_its_output() -> None:
    none, current, earlier, outdated = (a_conversion(existing=e) for e in get_args(Existing))
    all_four = (none, current, earlier, outdated)
    assert separate_done(all_four, run=Run()) == ((current, earlier), (none, outdated))


def test_nothing_is_done_with_force() -> None:
    conversion = a_conversion(existing="current")
    assert separate_done([conversion], run=Run()) == ((conversion,), ())
    assert separate_done([conversion], run=Run(force=True)) == ((), (conversion,))


def test_an_updated_plan_drops_what_was_converted_meanwhile_and_keeps_probed_values() -> None:
    one, other = a_conversion(seconds=3.5), a_conversion(a_source("b.mp4"), seconds=4.5, pixels=9)
    refusal = Refusal(a_source("c.mp4"), "bad")
    plan = Plan(pending=(one, other), done=(), refused=(refusal,))
    outputs = {one.output: Stamp(one.key, one.source.location, preset="mp3")}
    updated = update_plan(plan, a_request(), outputs=outputs)
    assert updated.pending == (other,)
    assert updated.done == (replace(one, existing="current"),)
    assert updated.refused == (refusal,)


def test_known_failures_keep_their_names_and_are_looked_up_again() -> None:
    known = KnownFailure(a_conversion(), "it is cut short", NOW)
    plan = Plan((), (), (), known_failures=(known,))
    assert update_plan(plan, a_request(), outputs={}).pending == (known.conversion,)
    stamp = Stamp(known.conversion.key, known.conversion.source.location, preset="mp3")
    updated = update_plan(plan, a_request(), outputs={known.conversion.output: stamp})
    existing = replace(known.conversion, existing="current")
    assert (updated.done, updated.known_failures) == ((existing,), ())


async def test_a_large_plan_does_not_block_the_event_loop_while_it_is_confirmed(
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


def test_an_updated_plan_changes_a_name_that_was_taken_meanwhile() -> None:
    known = a_conversion(seconds=3.5, tags=";FFMETADATA1\n")
    plan = Plan(pending=(known,), done=(), refused=())
    updated = update_plan(plan, a_request(), outputs={"a.mp3": Stamp("", "")})
    (renamed,) = updated.pending
    assert (renamed.output, renamed.seconds, renamed.tags) == ("a.mp4.mp3", 3.5, known.tags)


def test_an_updated_plan_keeps_the_refusals_of_each_preset() -> None:
    refusal = Refusal(a_source(), "it has no video stream", preset="webm")
    plan = Plan(pending=(a_conversion(),), done=(), refused=(refusal,))
    request = a_request(output={"presets": ["mp3", "webm"]})
    assert update_plan(plan, request, outputs={}) == plan


def test_a_file_too_large_for_a_blob_is_refused_but_an_equally_large_blob_is_not() -> None:
    large = a_source(size_bytes=200 << 30)
    refusal = refuse_unusable(large)
    assert refusal
    assert refusal.reason.startswith("it is larger than 195 GiB: upload it yourself")
    assert refuse_unusable(a_source(size_bytes=200 << 30, location="az://c/a.mp4")) is None
    assert refuse_unusable(a_source(size_bytes=20 << 30)) is None


def test_only_outputs_that_azure_cannot_store_are_refused() -> None:
    deep = "/".join(["x" * 200] * 5) + "/a.mp4"
    fits = f"{deep[: -len('/a.mp4')]}/{'y' * 15}.mp4"
    folder = "\x01" * 90 + "/a.mp4"
    far = a_source("b.mp4", location="/" + "\u00e9" * 1200 + "/b.mp4")
    named = [
        *(a_conversion(a_source(name), output=safe_name(name)) for name in (fits, deep + "x" * 16)),
        a_conversion(a_source(folder), output=safe_name(folder)),
        a_conversion(far),
    ]
    fitting, refused = separate_misfits(named)
    assert [c.source.name for c in fitting] == [fits]
    assert [r.reason.partition(":")[0] for r in refused] == [
        "the name of its output would have 1026 characters, and Azure allows 1024",
        "the name of an output folder would be longer than 255 bytes",
        "its path is too long for the metadata of its output",
    ]


def test_a_probed_conversion_has_the_expected_seconds_or_a_reason() -> None:
    tags = ";FFMETADATA1\ntitle=é\n"
    film = Media(sounds=(Sound(2.5),), video=Stream(2), seconds=2.5, tags=tags)
    assert apply_probe(a_conversion(), film, PRESETS["mp3"]) == a_conversion(
        seconds=2.5, sounds=(Extent(0, 2.5),), tags=tags
    )
    silent = replace(film, sounds=())
    refused = apply_probe(a_conversion(), silent, PRESETS["mp3"])
    reason = "no audio stream; preset mp3 requires one"
    assert refused == Refusal(a_source(), reason, preset="mp3")
    assert isinstance(apply_probe(a_conversion(), silent, PRESETS["webm"]), Conversion)
    missing = UnreadableMedia("file not found")
    refused = apply_probe(a_conversion(), missing, PRESETS["mp3"])
    assert refused == Refusal(a_source(), "file not found", preset="mp3")


def test_a_conversion_has_the_size_of_the_pictures_only_if_the_preset_converts_them() -> None:
    film = Media(sounds=(Sound(2),), video=Stream(2, pixels=640 * 360), seconds=2)
    for preset, pixels in (("mp3", 0), ("webm", 640 * 360)):
        found = apply_probe(a_conversion(), film, PRESETS[preset])
        assert isinstance(found, Conversion)
        assert found.pixels == pixels


def test_conversions_of_like_sources_share_their_arguments_in_memory() -> None:
    film = Media(sounds=(Sound(2),), video=Stream(2), seconds=2, format=MP4, has_chapters=True)
    one, other = (apply_probe(a_conversion(), film, PRESETS["mp3"]) for _ in range(2))
    assert isinstance(one, Conversion)
    assert isinstance(other, Conversion)
    assert one.arguments is other.arguments
    assert all(map(operator.is_, format_arguments(MP4), format_arguments(MP4)))


def test_an_encrypted_stream_is_refused_only_if_the_preset_converts_it() -> None:
    film = Media(sounds=(Sound(2),), video=Stream(2, is_encrypted=True), seconds=2)
    assert isinstance(apply_probe(a_conversion(), film, PRESETS["mp3"]), Conversion)
    refused = apply_probe(a_conversion(), film, PRESETS["webm"])
    reason = "its pictures are encrypted (DRM): convert an unencrypted copy"
    assert refused == Refusal(a_source(), reason, preset="webm")


def test_a_conversion_warns_about_channels_that_are_mixed_down() -> None:
    surround = Media((Sound(2, channels=6),), None, 2, warnings=("It has odd tags.",))
    mixed = apply_probe(a_conversion(), surround, PRESETS["mp3"])
    warning = "The source has 6 channels; MP3 holds 2, so they are mixed down."
    assert isinstance(mixed, Conversion)
    assert mixed.warnings == ("It has odd tags.", warning)
    kept = apply_probe(a_conversion(), surround, PRESETS["m4a"])
    assert isinstance(kept, Conversion)
    assert kept.warnings == ("It has odd tags.",)


def test_oversized_streams_are_refused_only_if_the_preset_converts_them() -> None:
    large = Media(sounds=(Sound(2),), video=Stream(2, pixels=30000 * 30000), seconds=2)
    assert isinstance(apply_probe(a_conversion(), large, PRESETS["mp3"]), Conversion)
    refused = apply_probe(a_conversion(), large, PRESETS["webm"])
    reason = "its pictures have 900,000,000 pixels; the limit is 134,217,728 (16K)"
    assert refused == Refusal(a_source(), reason, preset="webm")
    endless = Media(sounds=(Sound(1e9),), video=None, seconds=1e9)
    refused = apply_probe(a_conversion(), endless, PRESETS["mp3"])
    reason = "it declares a length of 277,778 hours: the file is damaged"
    assert refused == Refusal(a_source(), reason, preset="mp3")


async def test_a_source_is_probed_once_for_all_presets(
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
        fit, unfit = await probe_all(service, wanted, Output(presets=["mp3", "webm"]))
    assert [(c.preset, c.seconds) for c in fit] == [
        ("mp3", pytest.approx(2, abs=0.1)),
        ("webm", pytest.approx(3, abs=0.1)),
        ("webm", pytest.approx(2, abs=0.1)),
    ]
    assert [(r.source.location, r.preset) for r in unfit] == [
        (str(silent), "mp3"),
        (str(tmp_path / "none"), "mp3"),
        (str(tmp_path / "none"), "webm"),
    ]


async def test_the_prober_starts_early_if_not_all_files_can_be_done(
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


async def test_a_line_counts_what_the_search_left_out(
    blobs: BlobServiceClient,
    containers: tuple[str, str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    blobs.create_container(containers[1]).upload_blob("talks/c.jpg", b"")
    a_file(tmp_path / "a.mp4", b"x")
    a_file(tmp_path / "b.jpg", b"")
    (tmp_path / "folder").symlink_to(tmp_path)
    caplog.set_level("INFO", logger="tasks")
    patterns = [str(tmp_path), f"{tmp_path}/*.mp4", str(tmp_path), f"az://{containers[1]}"]
    async with blob_service() as service:
        await find_sources(service, patterns)
    assert caplog.messages == ["Ignored 2 files: 2 .jpg; 1 linked folder"]
    caplog.clear()
    async with blob_service() as service:
        await find_sources(service, [f"{tmp_path}/*.mp4"])
    assert caplog.messages == []


async def test_probing_a_blob_is_retried_if_storage_is_busy(
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
