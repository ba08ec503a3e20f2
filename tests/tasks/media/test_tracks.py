from dataclasses import replace
from pathlib import Path

import pytest
from tracks import Track, source_with

from tasks.media.presets import PRESETS, Choices, with_choices
from tasks.media.probe import probe
from tasks.media.streams import NO_SOUND, Media, Sound, Stream, taken_sounds
from tasks.media.tracks import track_note, track_warnings, with_main_track

MP3, M4A = PRESETS["mp3"], PRESETS["m4a"]


def media(*sounds: Sound) -> Media:
    numbered = (replace(sound, track=number) for number, sound in enumerate(sounds))
    return Media(tuple(numbered), None, 2, tracks=len(sounds))


def main_track(found: Media, *languages: str) -> int:
    return with_main_track(found, languages).sounds[0].track


STEREO, SURROUND = Sound(2, channels=2), Sound(2, channels=6)


@pytest.mark.parametrize(
    ("sounds", "track"),
    [
        ((STEREO, replace(STEREO, is_default=True)), 1),
        ((STEREO, SURROUND), 1),
        ((STEREO, STEREO), 0),
        ((replace(STEREO, is_default=True), SURROUND), 0),
        ((replace(SURROUND, is_default=True, is_commentary=True), STEREO), 1),
        ((replace(STEREO, is_default=True), replace(SURROUND, is_default=True)), 1),
    ],
)
def test_the_main_track_is_the_default_then_the_one_with_most_channels_then_the_first(
    sounds: tuple[Sound, ...], track: int
) -> None:
    assert main_track(media(*sounds)) == track


@pytest.mark.parametrize(
    ("wanted", "track"),
    [
        (["eng"], 1),
        (["en"], 1),
        (["en-US"], 1),
        (["fra", "eng"], 1),
        (["deu"], 0),
        (["ger", "eng"], 0),
        (["por"], 2),
        (["fra"], 0),
    ],
)
def test_the_first_language_that_a_source_has_decides(wanted: list[str], track: int) -> None:
    languages = ("ger", "eng", "pt-BR", "", "English!")
    found = media(*(replace(STEREO, language=language) for language in languages))
    assert main_track(found, *wanted) == track


def test_among_the_tracks_of_a_language_the_commentary_comes_last() -> None:
    english = replace(STEREO, language="eng")
    found = media(STEREO, replace(english, is_commentary=True), english)
    assert main_track(found, "eng") == 2


def test_a_language_that_no_track_has_is_a_warning() -> None:
    preset = with_choices(MP3, Choices(languages=("fra", "spa")))
    found = media(replace(STEREO, language="ger"), replace(SURROUND, language="", title=" Main\n"))
    ordered = with_main_track(found, preset.choices.languages)
    assert track_warnings(ordered, preset) == (
        "No sound track is in fra or spa. The source has: unknown, ger.",
    )
    assert track_warnings(found, with_choices(MP3, Choices(languages=("de",)))) == ()
    assert track_warnings(found, MP3) == ()


def test_a_report_names_the_track_only_where_there_was_a_choice() -> None:
    two = media(replace(STEREO, language="eng"), STEREO)
    assert track_note(two, MP3) == "sound track 1 of 2 (eng, stereo)"
    assert track_note(two, with_choices(M4A, Choices(tracks="all"))) == "all 2 sound tracks"
    assert track_note(media(STEREO), MP3) is None
    assert track_note(replace(media(STEREO), tracks=2), MP3) == "sound track 1 of 2 (stereo)"


def test_the_probe_reads_languages_titles_flags_and_channels(tmp_path: Path) -> None:
    source = source_with(
        tmp_path / "a.mkv",
        Track(300, "eng", "Director", "comment"),
        Track(1200, "deu", "Main", "default", channels=2, codec="flac"),
    )
    first, second = probe(str(source)).sounds
    assert (first.codec, first.language, first.title) == ("aac", "eng", "Director")
    assert (first.is_commentary, first.is_default) == (True, False)
    assert (second.codec, second.channels, second.samples_per_second) == ("flac", 2, 48000)
    assert (second.is_default, second.track) == (True, 1)


def test_all_tracks_begin_with_the_main_one() -> None:
    preset = with_choices(M4A, Choices(tracks="all"))
    found = with_main_track(media(STEREO, SURROUND), ())
    assert [sound.track for sound in taken_sounds(found, preset)] == [1, 0]
    assert [sound.track for sound in taken_sounds(found, M4A)] == [1]


def test_a_film_whose_sound_cannot_be_decoded_has_a_warning() -> None:
    silent = Media((), Stream(2), 2, tracks=1)
    assert track_warnings(silent, PRESETS["webm"]) == (f"The output has no sound: {NO_SOUND}.",)
