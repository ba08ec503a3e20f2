from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import pytest
from azure.storage.blob import BlobServiceClient
from hypothesis import assume, given
from hypothesis import strategies as st
from records import MP3, a_source

from tasks.media.output_names import (
    join_path,
    name_outputs,
    parent_folders,
    safe_name,
    split_suffix,
)
from tasks.media.presets import PRESETS, Preset, with_options
from tasks.models import Conversion, Source, Stamp

# Few characters, so that names collide: case, accents, dots, folders, controls, invalid bytes.
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
BOTH = (MP3, MP3_320K)  # the same suffix


def named(
    sources: dict[Source, str],
    outputs: dict[str, Stamp] | None = None,
    *,
    prefix: str = "",
    presets: Sequence[Preset] = (MP3,),
) -> list[Conversion]:
    return list(name_outputs(sources, presets=presets, prefix=prefix, outputs=outputs or {}))


def names(*sources: str) -> dict[str, str]:
    """Return the output of each source."""
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
def test_a_rerun_assigns_the_same_names_and_finds_all_outputs_done(
    library: dict[Source, str], outputs: dict[str, Stamp], prefix: str
) -> None:
    first = named(library, outputs, prefix=prefix)
    after = outputs | stamps(first)
    again = named(library, after, prefix=prefix)
    assert [(c.key, c.output) for c in again] == [(c.key, c.output) for c in first]
    assert {c.existing for c in again} <= {"current"}


@given(LIBRARIES, OUTPUTS, PREFIXES)
def test_two_presets_with_the_same_suffix_get_different_outputs(
    library: dict[Source, str], outputs: dict[str, Stamp], prefix: str
) -> None:
    conversions = named(library, outputs, prefix=prefix, presets=BOTH)
    assert len({folded(c.output) for c in conversions}) == 2 * len(library)
    assert len({c.key for c in conversions}) == 2 * len(library)


@given(LIBRARIES, OUTPUTS, st.permutations(BOTH), st.lists(st.sampled_from(BOTH), unique=True))
def test_a_rerun_with_other_presets_renames_no_output(
    library: dict[Source, str],
    outputs: dict[str, Stamp],
    first: list[Preset],
    second: list[Preset],
) -> None:
    before = named(library, outputs, presets=first)
    after = outputs | stamps(before)
    chosen = {preset.name for preset in second}
    again = {c.key for c in named(library, after, presets=second)}
    assert again == {c.key for c in before if c.preset in chosen}


def a_next_version(preset: Preset) -> Preset:
    """Return a version with other arguments after this one."""
    return replace(
        preset,
        version=preset.version + 1,
        arguments=(*preset.arguments, "-ar", "8000"),
        earlier=(preset, *preset.earlier),
    )


@pytest.mark.parametrize("location", ["/library/a.mp4", "/elsewhere/a.mp4"])
def test_an_output_of_an_earlier_version_keeps_its_name_also_after_the_library_has_moved(
    location: str,
) -> None:
    (before,) = named({a_source("a.mp4"): "c0"})
    after = a_next_version(a_next_version(MP3))
    moved = {a_source("a.mp4", location=location): "c0"}
    (now,) = named(moved, stamps([before]), presets=[after])
    assert (now.output, now.existing) == ("a.mp3", "earlier")
    assert now.key != before.key


@pytest.mark.parametrize(("content", "options"), [("c1", []), ("c0", ["-ac", "1"])])
def test_an_output_of_an_earlier_version_is_outdated_if_the_source_or_the_options_have_changed(
    content: str, options: list[str]
) -> None:
    outputs = stamps(named({a_source("a.mp4"): "c0"}))
    preset = with_options(a_next_version(MP3), options)
    (now,) = named({a_source("a.mp4"): content}, outputs, presets=[preset])
    assert (now.output, now.existing) == ("a.mp3", "outdated")


def test_an_output_of_an_earlier_version_with_the_same_options_is_recognised() -> None:
    options = ["-ac", "1", "-af", "volume=2"]
    source = {a_source("a.mp4"): "c0"}
    outputs = stamps(named(source, presets=[with_options(MP3, options)]))
    (now,) = named(source, outputs, presets=[with_options(a_next_version(MP3), options)])
    assert now.existing == "earlier"


@given(LIBRARIES, OUTPUTS)
def test_only_an_output_of_the_same_source_is_overwritten(
    library: dict[Source, str], outputs: dict[str, Stamp]
) -> None:
    for conversion in named(library, outputs):
        there = outputs.get(conversion.output)
        own = there and (there.location, there.preset) == (conversion.source.location, "mp3")
        assert there is None or own or there.key == conversion.key


@given(LIBRARIES, OUTPUTS, PREFIXES)
def test_no_output_has_the_name_of_a_folder_of_another_output(
    library: dict[Source, str], outputs: dict[str, Stamp], prefix: str
) -> None:
    conversions = named(library, outputs, prefix=prefix)
    folders = {str(p) for c in conversions for p in PurePosixPath(c.output).parents}
    assert not folders & {c.output for c in conversions}


@given(LIBRARIES, PREFIXES)
def test_outputs_are_below_the_prefix_and_have_the_suffix_of_the_preset(
    library: dict[Source, str], prefix: str
) -> None:
    for conversion in named(library, prefix=prefix):
        path = PurePosixPath(conversion.output)
        assert path.is_relative_to(prefix)
        assert path.suffix == ".mp3"
        assert str(path) == conversion.output
        assert ".." not in path.parts


@given(st.text())
def test_a_safe_name_is_valid_and_does_not_leave_its_folder(name: str) -> None:
    safe = safe_name(name)
    assert safe.encode().decode() == safe
    assert not {".", ".."} & set(safe.split("/"))
    assert safe.count("/") == name.count("/")
    assert "\\" not in safe
    assert all(ord(char) > 31 for char in safe)


@given(NAMES, NAMES)
def test_different_names_without_percent_signs_stay_different(one: str, other: str) -> None:
    same = safe_name(one) == safe_name(other)
    assert same is (one == other) or "%" in one + other


def test_the_mp4_gets_the_plain_name_and_others_keep_their_suffix() -> None:
    assert names("a.mkv", "a.mov", "a.mp4") == {
        "a.mp4": "a.mp3",
        "a.mkv": "a.mkv.mp3",
        "a.mov": "a.mov.mp3",
    }


def test_if_two_presets_share_a_suffix_the_name_contains_the_second_preset() -> None:
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


def test_an_output_keeps_its_name_when_the_output_of_another_preset_is_deleted() -> None:
    library = {a_source(): "c0"}
    there = stamps(named(library, presets=BOTH))
    del there["a.mp3"]
    assert [c.output for c in named(library, there, presets=[MP3_320K])] == ["a.mp3-320k.mp3"]


def test_names_that_differ_only_in_case_or_composition_get_different_outputs() -> None:
    outputs = names("A.mp4", "a.mp4", "\u03aa\u0301.mp4", "\u0390.mp4").values()
    assert sorted(outputs) == ["A.mp3", "a.mp4.mp3", "\u0390.mp3", "\u03aa\u0301.mp4.mp3"]


def test_the_name_of_a_folder_in_the_library_is_not_used() -> None:
    assert names("a.mp4", "a.mp3/b.mp4") == {"a.mp4": "a.mp4.mp3", "a.mp3/b.mp4": "a.mp3/b.mp3"}


def test_a_name_that_is_too_long_for_a_file_is_shortened() -> None:
    long = "é" * 125 + ".mp4"
    (conversion,) = named({a_source(long): "c0"}, presets=[PRESETS["opus"]])
    assert conversion.output == "é" * 125 + ".opus"
    longer = "x" * 251 + ".mp4"
    (conversion,) = named({a_source(longer): "c0"}, presets=[PRESETS["opus"]])
    assert conversion.output.startswith("x" * 180 + ".")
    assert len(conversion.output) < 255


def test_a_moved_source_keeps_its_output_and_key() -> None:
    (before,) = named({a_source(): "c0"})
    (after,) = named({a_source(location="/elsewhere/a.mp4"): "c0"}, stamps([before]))
    assert (after.output, after.key) == (before.output, before.key)


@pytest.mark.parametrize("name", ["\x01", "\ufffe", "\uffff", "\udcff", "..", "%", "\u2028", "😀"])
def test_a_safe_name_can_be_listed_as_a_blob(
    name: str, blobs: BlobServiceClient, containers: tuple[str, str]
) -> None:
    container = blobs.create_container(containers[0])
    container.upload_blob(f"x/{safe_name(name)}/a.mp3", b"")
    assert list(container.list_blob_names()) == [f"x/{safe_name(name)}/a.mp3"]


@given(st.lists(st.text("a./", max_size=6), max_size=3))
def test_paths_as_text_are_split_and_joined_as_by_pathlib(parts: list[str]) -> None:
    path = join_path(*parts)
    plain = PurePosixPath(*(part.lstrip("/") for part in parts))
    assume("." not in path.split("/"))  # safe_name encodes such a name of a source before
    assert path == ("" if plain == PurePosixPath() else str(plain))
    assert list(parent_folders(path)) == ["" if str(p) == "." else str(p) for p in plain.parents]
    assume(not path.endswith("."))  # as above; and Python 3.14 returns another result
    assert split_suffix(path) == (path.removesuffix(plain.suffix), plain.suffix)
