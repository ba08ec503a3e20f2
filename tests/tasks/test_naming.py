import os
from pathlib import PurePosixPath

import pytest
from azure.storage.blob import BlobServiceClient
from hypothesis import given
from hypothesis import strategies as st
from records import MP3, a_conversion, a_source

from tasks.models import Conversion, Source, Stamp
from tasks.naming import (
    batch_task_id,
    conversion_key,
    key_and_attempt,
    lock_id,
    name_outputs,
    read_stamp,
    safe_name,
    stamp_metadata,
)
from tasks.plan import is_done
from tasks.presets import PRESETS, Preset

# Few letters, so that names meet: cases, accents, dots, folders, controls, broken bytes.
SEGMENTS = st.text("aAéE\u0301.%\\\n\x7f\udcff\ufffeµμ", min_size=1, max_size=3)
STEMS = st.lists(SEGMENTS, min_size=1, max_size=3).map("/".join)
NAMES = st.builds(
    lambda stem, suffix: stem + suffix, STEMS, st.sampled_from(["", ".mp4", ".MP4", ".mov", ".mp3"])
)
CONTENTS = st.sampled_from(["c0", "c1"])
LIBRARIES = st.dictionaries(
    st.builds(lambda n, folder: Source(n, f"/{folder}/{n}", 1, "1"), NAMES, st.sampled_from("xy")),
    CONTENTS,
    max_size=8,
)
STAMPS = st.builds(Stamp, st.sampled_from(["", "k" * 32]), st.sampled_from(["", "/x/a.mp4"]))
OUTPUTS = st.dictionaries(NAMES.map(lambda n: f"{safe_name(n)}.mp3"), STAMPS, max_size=5)
PREFIXES = st.sampled_from(["", "talks", "talks/2026/"])


def named(
    sources: dict[Source, str],
    outputs: dict[str, Stamp] | None = None,
    *,
    prefix: str = "",
    preset: Preset = MP3,
) -> list[Conversion]:
    return list(name_outputs(sources, preset=preset, prefix=prefix, outputs=outputs or {}))


def names(*sources: str) -> dict[str, str]:
    """Output by source."""
    given_sources = {a_source(name): name for name in sources}
    return {c.source.name: c.output for c in named(given_sources)}


def stamps(conversions: list[Conversion]) -> dict[str, Stamp]:
    return {c.output: Stamp(c.key, c.source.location) for c in conversions}


def folded(name: str) -> str:
    return name.casefold()


@given(LIBRARIES, OUTPUTS, PREFIXES)
def test_every_source_gets_an_output_of_its_own(
    library: dict[Source, str], outputs: dict[str, Stamp], prefix: str
) -> None:
    conversions = named(library, outputs, prefix=prefix)
    assert {c.source for c in conversions} == set(library)
    assert len({folded(c.output) for c in conversions}) == len(library)
    assert len({c.key for c in conversions}) == len(library)


@given(LIBRARIES, OUTPUTS, PREFIXES)
def test_a_rerun_gives_the_same_names_and_finds_all_done(
    library: dict[Source, str], outputs: dict[str, Stamp], prefix: str
) -> None:
    first = named(library, outputs, prefix=prefix)
    after = outputs | stamps(first)
    assert named(library, after, prefix=prefix) == first
    assert all(is_done(conversion, after) for conversion in first)


@given(LIBRARIES, OUTPUTS)
def test_no_blob_is_overwritten_that_is_not_the_sources_own(
    library: dict[Source, str], outputs: dict[str, Stamp]
) -> None:
    for conversion in named(library, outputs):
        there = outputs.get(conversion.output)
        own = (there and there.location) == conversion.source.location
        assert there is None or own or there.key == conversion.key


@given(LIBRARIES, OUTPUTS, PREFIXES)
def test_no_output_is_a_folder_of_another(
    library: dict[Source, str], outputs: dict[str, Stamp], prefix: str
) -> None:
    conversions = named(library, outputs, prefix=prefix)
    folders = {str(p) for c in conversions for p in PurePosixPath(c.output).parents}
    assert not folders & {c.output for c in conversions}


@given(LIBRARIES, PREFIXES)
def test_outputs_stay_below_the_prefix_and_have_the_presets_suffix(
    library: dict[Source, str], prefix: str
) -> None:
    for conversion in named(library, prefix=prefix):
        path = PurePosixPath(conversion.output)
        assert path.is_relative_to(prefix)
        assert path.suffix == ".mp3"
        assert str(path) == conversion.output
        assert ".." not in path.parts


@given(st.text())
def test_a_safe_name_can_be_written_and_leads_nowhere_else(name: str) -> None:
    safe = safe_name(name)
    assert safe.encode().decode() == safe
    assert not {".", ".."} & set(safe.split("/"))
    assert safe.count("/") == name.count("/")
    assert "\\" not in safe
    assert all(ord(char) > 31 for char in safe)


@given(NAMES, NAMES)
def test_two_names_without_a_percent_sign_stay_two(one: str, other: str) -> None:
    same = safe_name(one) == safe_name(other)
    assert same is (one == other) or "%" in one + other


@given(st.text("é%2F\udcff/ \n", max_size=1024), st.sampled_from(list(PRESETS.values())))
def test_a_stamp_is_read_as_it_was_written(location: str, preset: Preset) -> None:
    conversion = a_conversion(a_source(location=location))
    metadata = stamp_metadata(conversion, preset)
    assert all(value.isascii() and value.isprintable() for value in metadata.values())
    assert read_stamp(metadata, 5) == Stamp(conversion.key, location, 5)


@pytest.mark.parametrize("char", ["\udcff", "\U0001f600", "x"])
def test_the_stamp_of_a_path_of_a_kilobyte_fits_into_a_blobs_metadata(char: str) -> None:
    location = "/" + char * (1024 // len(os.fsencode(char)))
    metadata = stamp_metadata(a_conversion(a_source(location=location)), MP3)
    assert sum(len(name) + len(value) for name, value in metadata.items()) < 8192
    assert read_stamp(metadata, 0).location == location


@pytest.mark.parametrize("metadata", [None, {}, {"owner": "somebody"}])
def test_a_blob_that_is_not_ours_has_an_empty_stamp(metadata: dict[str, str] | None) -> None:
    assert read_stamp(metadata, 3) == Stamp("", "", 3)


def test_the_mp4_has_the_first_choice_and_others_keep_their_suffix() -> None:
    assert names("a.mkv", "a.mov", "a.mp4") == {
        "a.mp4": "a.mp3",
        "a.mkv": "a.mkv.mp3",
        "a.mov": "a.mov.mp3",
    }


def test_names_that_differ_by_case_or_composition_alone_are_kept_apart() -> None:
    outputs = names("A.mp4", "a.mp4", "\u03aa\u0301.mp4", "\u0390.mp4").values()
    assert sorted(outputs) == ["A.mp3", "a.mp4.mp3", "\u0390.mp3", "\u03aa\u0301.mp4.mp3"]


def test_a_name_that_is_a_folder_of_the_library_is_passed_over() -> None:
    assert names("a.mp4", "a.mp3/b.mp4") == {"a.mp4": "a.mp4.mp3", "a.mp3/b.mp4": "a.mp3/b.mp3"}


def test_a_name_too_long_for_a_file_is_shortened() -> None:
    long = "é" * 125 + ".mp4"
    (conversion,) = named({a_source(long): "c0"}, preset=PRESETS["opus"])
    assert conversion.output == "é" * 125 + ".opus"
    longer = "x" * 251 + ".mp4"
    (conversion,) = named({a_source(longer): "c0"}, preset=PRESETS["opus"])
    assert conversion.output.startswith("x" * 180 + ".")
    assert len(conversion.output) < 255


def test_a_moved_source_is_known_by_its_content_and_output() -> None:
    (before,) = named({a_source(): "c0"})
    (after,) = named({a_source(location="/elsewhere/a.mp4"): "c0"}, stamps([before]))
    assert (after.output, after.key) == (before.output, before.key)


def test_the_key_changes_with_content_output_and_preset() -> None:
    keys = {
        conversion_key("c0", "a.mp3", MP3),
        conversion_key("c1", "a.mp3", MP3),
        conversion_key("c0", "b.mp3", MP3),
        conversion_key("c0", "a.mp3", PRESETS["mp3-320k"]),
    }
    assert len(keys) == 4


def test_a_batch_task_tells_its_key_and_attempt() -> None:
    assert key_and_attempt(batch_task_id("a-b", 2)) == ("a-b", 2)


def test_the_lock_is_the_same_however_the_prefix_is_written() -> None:
    assert lock_id("output", "talks") == lock_id("output", "talks/") != lock_id("output", "")


@pytest.mark.parametrize("name", ["\x01", "\ufffe", "\uffff", "\udcff", "..", "%", "\u2028", "😀"])
def test_a_safe_name_can_be_listed_as_a_blob(
    name: str, blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    container = blobs.create_container(containers[0])
    container.upload_blob(f"x/{safe_name(name)}/a.mp3", b"")
    assert list(container.list_blob_names()) == [f"x/{safe_name(name)}/a.mp3"]
