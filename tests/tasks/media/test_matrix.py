"""Each source format by each preset: the output is decoded, and has all that the preset keeps."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from contents import Contents, Heard, read_contents
from kept import KEPT, Kept
from recipes import CHAPTERS, COVER, RECIPES, SECONDS, SILENT_SECONDS, SUBTITLE, TAGS, Recipe, Track
from runner_node import Node

from tasks.media.presets import PRESETS, Choices, with_choices
from tasks.media.probe import probe
from tasks.media.streams import missing_stream

RECORDINGS = [suffix for suffix, recipe in RECIPES.items() if not recipe.has_pictures]
# Each source format and each preset at least once, and a copy.
SAMPLE = {
    (".mp3", "m4a"),
    (".m4a", "opus"),
    (".flac", "wav"),
    (".wav", "flac"),
    (".ogg", "mp3"),
    (".opus", "mp3-320k"),
    (".mkv", "mp3"),
    (".mkv", "mp4-720p"),
    (".mp4", "webm"),
    (".mp4", "flac"),
    (".mov", "m4a"),
    (".ts", "mp4-720p"),
    (".avi", "opus"),
    (".wma", "mp3"),
    (".ogg", "wav-16k"),
    (".flac", "opus-speech"),
    (".mp3", "mp3"),
}


def cells() -> Iterator[Any]:
    for suffix, recipe in RECIPES.items():
        for name in PRESETS:
            if recipe.has_pictures or not KEPT[name].pictures:
                marks = [] if (suffix, name) in SAMPLE else [pytest.mark.slow]
                yield pytest.param(suffix, name, marks=marks, id=f"{suffix[1:]}-{name}")


def expected_rate(rate: int, kept: Kept) -> int:
    return min(kept.rates, key=lambda each: abs(each - rate)) if kept.rates else rate


def expected_track(recipe: Recipe, kept: Kept, track: Track) -> Heard:
    late = recipe.late_seconds if kept.time else 0
    return Heard(
        codec=kept.codec,
        channels=min(track.channels, kept.most_channels),
        rate=expected_rate(track.rate, kept),
        seconds=pytest.approx(late + SECONDS, abs=0.1),
        begins=pytest.approx(late + SILENT_SECONDS, abs=0.05),
        hertz=pytest.approx(track.hertz, rel=0.03),
        language=track.language if kept.language else "",
        title=track.title if kept.titles else "",
        is_default=kept.default_flag and track.is_default,
    )


def expected_contents(recipe: Recipe, kept: Kept) -> Contents:
    chapters = CHAPTERS if recipe.has_chapters and kept.chapters else ()
    return Contents(
        tracks=(expected_track(recipe, kept, recipe.main),),
        pictures=kept.pictures,
        tags=TAGS if recipe.has_tags and kept.tags else {},
        chapters=tuple((pytest.approx(start, abs=0.05), title) for start, title in chapters),
        cover=COVER if recipe.cover and kept.cover else b"",
        subtitles=(),
    )


def with_known_tags(found: Contents) -> Contents:
    """Leave out the tags that formats and encoders add."""
    return replace(found, tags={name: found.tags[name] for name in TAGS if name in found.tags})


@pytest.mark.parametrize(("suffix", "name"), list(cells()))
def test_an_output_has_all_that_its_preset_keeps(
    node: Callable[..., Node], recipe_source: Callable[[str], Path], suffix: str, name: str
) -> None:
    preset = PRESETS[name]
    result = node(recipe_source(suffix)).convert(preset)
    assert (result.status, result.verified.warnings) == (0, ()), result.stderr
    found = read_contents(result.folder / f"output{preset.suffix}")
    assert with_known_tags(found) == expected_contents(RECIPES[suffix], KEPT[name])


@pytest.mark.parametrize("name", [name for name in KEPT if KEPT[name].tracks == "one or all"])
def test_an_output_has_all_tracks_and_text_subtitles_if_the_user_asks_for_them(
    node: Callable[..., Node], recipe_source: Callable[[str], Path], name: str
) -> None:
    preset = with_choices(PRESETS[name], Choices(tracks="all"))
    result = node(recipe_source(".mkv")).convert(preset)
    assert (result.status, result.verified.warnings) == (0, ()), result.stderr
    found = read_contents(result.folder / f"output{preset.suffix}")
    recipe, kept = RECIPES[".mkv"], replace(KEPT[name], titles=True)
    assert with_known_tags(found) == replace(
        expected_contents(recipe, kept),
        tracks=tuple(expected_track(recipe, kept, each) for each in (recipe.main, *recipe.others)),
        subtitles=(SUBTITLE,) if kept.subtitles else (),
    )


def test_presets_that_hold_one_track_refuse_all() -> None:
    refused = {name for name in PRESETS if is_refused(name, Choices(tracks="all"))}
    assert refused == {name for name in PRESETS if KEPT[name].tracks == "one"}


def is_refused(name: str, choices: Choices) -> bool:
    try:
        with_choices(PRESETS[name], choices)
    except ValueError:
        return True
    return False


def test_the_sample_has_each_source_and_each_preset() -> None:
    assert {suffix for suffix, _ in SAMPLE} == set(RECIPES)
    assert {name for _, name in SAMPLE} == set(PRESETS)


@pytest.mark.parametrize(
    "suffix", [suffix for suffix in RECIPES if not RECIPES[suffix].has_pictures]
)
def test_presets_with_pictures_refuse_a_source_without_pictures(
    recipe_source: Callable[[str], Path], suffix: str
) -> None:
    media = probe(str(recipe_source(suffix)))
    refusals = {name: missing_stream(media, preset) for name, preset in PRESETS.items()}
    assert {name for name in refusals if refusals[name]} == {
        name for name in PRESETS if KEPT[name].pictures
    }


def test_a_chapter_of_opus_starts_in_time(
    node: Callable[..., Node], clip: Callable[..., Path]
) -> None:
    source = clip(".mkv", chapters=("One", "Two", "Three", "Four"))
    result = node(source).convert(PRESETS["opus"])
    found = read_contents(result.folder / "output.opus")
    assert [start for start, _ in found.chapters] == [0, 0.5, 1, 1.5]
