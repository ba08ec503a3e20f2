import os
from collections.abc import Sequence
from pathlib import PurePosixPath

import pytest
from azure.storage.blob import BlobServiceClient
from hypothesis import assume, given
from hypothesis import strategies as st
from records import MP3, a_conversion, a_source

from tasks.azure.stamps import read_stamp, stamp_metadata
from tasks.media.output_names import folders_above, joined, name_outputs, part_suffix, safe_name
from tasks.media.presets import PRESETS, Preset
from tasks.models import Conversion, Source, Stamp
from tasks.naming import batch_task_id, conversion_key, key_and_attempt, lock_id
from tasks.plan import is_done

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
STAMPS = st.builds(
    Stamp,
    st.sampled_from(["", "k" * 32]),
    st.sampled_from(["", "/x/a.mp4"]),
    preset=st.sampled_from(["", "mp3", "mp3-320k"]),
)
OUTPUTS = st.dictionaries(NAMES.map(lambda n: f"{safe_name(n)}.mp3"), STAMPS, max_size=5)
PREFIXES = st.sampled_from(["", "talks", "talks/2026/"])
MP3_320K = PRESETS["mp3-320k"]
BOTH = (MP3, MP3_320K)  # of one suffix


def named(
    sources: dict[Source, str],
    outputs: dict[str, Stamp] | None = None,
    *,
    prefix: str = "",
    presets: Sequence[Preset] = (MP3,),
) -> list[Conversion]:
    return list(name_outputs(sources, presets=presets, prefix=prefix, outputs=outputs or {}))


def names(*sources: str) -> dict[str, str]:
    """Output by source."""
    given_sources = {a_source(name): name for name in sources}
    return {c.source.name: c.output for c in named(given_sources)}


def stamps(conversions: list[Conversion]) -> dict[str, Stamp]:
    return {c.output: Stamp(c.key, c.source.location, 0, c.preset) for c in conversions}


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


@given(LIBRARIES, OUTPUTS, PREFIXES)
def test_two_presets_of_one_suffix_get_outputs_of_their_own(
    library: dict[Source, str], outputs: dict[str, Stamp], prefix: str
) -> None:
    conversions = named(library, outputs, prefix=prefix, presets=BOTH)
    assert len({folded(c.output) for c in conversions}) == 2 * len(library)
    assert len({c.key for c in conversions}) == 2 * len(library)


@given(LIBRARIES, OUTPUTS, st.permutations(BOTH), st.lists(st.sampled_from(BOTH), unique=True))
def test_a_rerun_with_other_presets_leaves_each_output_its_name(
    library: dict[Source, str],
    outputs: dict[str, Stamp],
    first: list[Preset],
    second: list[Preset],
) -> None:
    before = named(library, outputs, presets=first)
    after = outputs | stamps(before)
    chosen = {preset.name for preset in second}
    again = set(named(library, after, presets=second))
    assert again == {c for c in before if c.preset in chosen}


@given(LIBRARIES, OUTPUTS)
def test_no_blob_is_overwritten_that_is_not_the_sources_own(
    library: dict[Source, str], outputs: dict[str, Stamp]
) -> None:
    for conversion in named(library, outputs):
        there = outputs.get(conversion.output)
        own = there and (there.location, there.preset) == (conversion.source.location, "mp3")
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
    conversion = a_conversion(a_source(location=location), preset=preset)
    metadata = stamp_metadata(conversion)
    assert all(value.isascii() and value.isprintable() for value in metadata.values())
    assert read_stamp(metadata, 5) == Stamp(conversion.key, location, 5, preset.name)


@pytest.mark.parametrize("char", ["\udcff", "\U0001f600", "x"])
def test_the_stamp_of_a_path_of_a_kilobyte_fits_into_a_blobs_metadata(char: str) -> None:
    location = "/" + char * (1024 // len(os.fsencode(char)))
    metadata = stamp_metadata(a_conversion(a_source(location=location)))
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


def test_where_two_presets_share_a_suffix_the_later_one_is_in_the_name() -> None:
    library = {a_source(name): name for name in ("a.mp4", "a.mov")}
    assert [(c.preset, c.output) for c in named(library, presets=BOTH)] == [
        ("mp3", "a.mp3"),
        ("mp3-320k", "a.mp3-320k.mp3"),
        ("mp3", "a.mov.mp3"),
        ("mp3-320k", "a.mov.mp3-320k.mp3"),
    ]


def test_an_output_of_another_preset_is_not_overwritten() -> None:
    library = {a_source(): "c0"}
    first = named(library, presets=[MP3_320K])
    assert [c.output for c in first] == ["a.mp3"]
    second = named(library, stamps(first), presets=[MP3])
    assert [c.output for c in second] == ["a.mp3.mp3"]
    both = stamps(first) | stamps(second)
    assert {c.output for c in named(library, both, presets=BOTH)} == set(both)


def test_an_output_keeps_its_name_when_that_of_another_preset_is_deleted() -> None:
    library = {a_source(): "c0"}
    there = stamps(named(library, presets=BOTH))
    del there["a.mp3"]
    assert [c.output for c in named(library, there, presets=[MP3_320K])] == ["a.mp3-320k.mp3"]


def test_names_that_differ_by_case_or_composition_alone_are_kept_apart() -> None:
    outputs = names("A.mp4", "a.mp4", "\u03aa\u0301.mp4", "\u0390.mp4").values()
    assert sorted(outputs) == ["A.mp3", "a.mp4.mp3", "\u0390.mp3", "\u03aa\u0301.mp4.mp3"]


def test_a_name_that_is_a_folder_of_the_library_is_passed_over() -> None:
    assert names("a.mp4", "a.mp3/b.mp4") == {"a.mp4": "a.mp4.mp3", "a.mp3/b.mp4": "a.mp3/b.mp3"}


def test_a_name_too_long_for_a_file_is_shortened() -> None:
    long = "é" * 125 + ".mp4"
    (conversion,) = named({a_source(long): "c0"}, presets=[PRESETS["opus"]])
    assert conversion.output == "é" * 125 + ".opus"
    longer = "x" * 251 + ".mp4"
    (conversion,) = named({a_source(longer): "c0"}, presets=[PRESETS["opus"]])
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


def test_keys_of_earlier_versions_are_unchanged() -> None:
    """If these keys change, runs convert whole libraries again."""
    assert conversion_key("c0", "a.mp3", MP3) == "919b93fddba1a500fd0cedb01462aa08"
    assert conversion_key("c0", "a.flac", PRESETS["flac"]) == "71dc57d79ef519f262b567d2433b7b1d"


def test_a_batch_task_id_contains_the_key_and_the_attempt() -> None:
    assert key_and_attempt(batch_task_id("a-b", 2)) == ("a-b", 2)


def test_the_lock_does_not_depend_on_a_slash_after_the_prefix() -> None:
    assert lock_id("output", "talks") == lock_id("output", "talks/") != lock_id("output", "")


@pytest.mark.parametrize("name", ["\x01", "\ufffe", "\uffff", "\udcff", "..", "%", "\u2028", "😀"])
def test_a_safe_name_can_be_listed_as_a_blob(
    name: str, blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    container = blobs.create_container(containers[0])
    container.upload_blob(f"x/{safe_name(name)}/a.mp3", b"")
    assert list(container.list_blob_names()) == [f"x/{safe_name(name)}/a.mp3"]


@given(st.lists(st.text("a./", max_size=6), max_size=3))
def test_paths_as_text_are_what_pathlib_makes_of_them(parts: list[str]) -> None:
    path = joined(*parts)
    plain = PurePosixPath(*(part.lstrip("/") for part in parts))
    assume("." not in path.split("/"))  # of a source such a name is encoded before
    assert path == ("" if plain == PurePosixPath() else str(plain))
    assert list(folders_above(path)) == ["" if str(p) == "." else str(p) for p in plain.parents]
    assume(not path.endswith("."))  # as above; and Python 3.14 has another answer
    assert part_suffix(path) == (path.removesuffix(plain.suffix), plain.suffix)
