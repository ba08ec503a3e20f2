from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.media.copying import copy_arguments, most_bit_rate
from tasks.media.presets import PRESETS, Choices, preset_for, with_choices
from tasks.media.probe import probe
from tasks.media.streams import Media, Sound

Clip = Callable[..., Path]
MP3 = Sound(2, codec="mp3", channels=2, samples_per_second=44100, bits_per_second=128_000)
SPEECH = Sound(2, codec="pcm_s16le", channels=1, samples_per_second=16000)


def is_copied(sound: Sound, container: str, preset: str) -> bool:
    return bool(copy_arguments(Media((sound,), None, 2, container), PRESETS[preset]))


@pytest.mark.parametrize(
    ("sound", "container", "preset"),
    [
        (MP3, "mp3", "mp3"),
        (replace(MP3, bits_per_second=192_000), "mp3", "mp3"),
        (replace(MP3, bits_per_second=256_000), "mp3", "mp3-320k"),
        (SPEECH, "wav", "wav-16k"),
        (SPEECH, "wav", "wav"),
        (replace(SPEECH, samples_per_second=44100), "wav", "wav"),
    ],
)
def test_sound_is_copied_if_it_has_what_the_preset_means(
    sound: Sound, container: str, preset: str
) -> None:
    assert is_copied(sound, container, preset)


@pytest.mark.parametrize(
    ("sound", "container", "preset"),
    [
        (replace(MP3, bits_per_second=193_000), "mp3", "mp3"),
        (MP3, "avi", "mp3"),
        (replace(MP3, codec="mp2"), "mp3", "mp3"),
        (replace(MP3, start_seconds=0.1), "mp3", "mp3"),
        (replace(SPEECH, channels=2), "wav", "wav-16k"),
        (replace(SPEECH, samples_per_second=44100), "wav", "wav-16k"),
        (replace(SPEECH, codec="pcm_s24le"), "wav", "wav"),
    ],
)
def test_sound_is_not_copied_if_it_is_another_or_has_more_bits(
    sound: Sound, container: str, preset: str
) -> None:
    assert not is_copied(sound, container, preset)


def test_sound_is_not_copied_for_options_or_films_or_against_the_users_choice() -> None:
    media = Media((MP3,), None, 2, "mp3")
    assert copy_arguments(media, PRESETS["mp3"])
    assert not copy_arguments(media, preset_for("mp3", ["-af", "volume=2"]))
    assert not copy_arguments(media, with_choices(PRESETS["mp3"], Choices(copy="never")))
    assert not copy_arguments(media, PRESETS["mp4-720p"])
    assert not copy_arguments(replace(media, sounds=()), PRESETS["mp3"])


def test_a_copy_keeps_the_arguments_for_tags_and_cover_but_none_of_the_encoder(clip: Clip) -> None:
    media = probe(str(clip(".flac", cover="png")))
    arguments = copy_arguments(media, PRESETS["flac"])
    pairs = list(zip(arguments[::2], arguments[1::2], strict=True))
    assert ("-map_metadata", "0") in pairs
    assert ("-disposition:v:0", "attached_pic") in pairs
    assert ("-c:a", "copy") in pairs
    assert not {"-af", "-b:a", "-sample_fmt"} & {option for option, _ in pairs}


@pytest.mark.parametrize("rate", ["256k", "1M", "256000"])
def test_a_bit_rate_of_the_user_does_not_change_what_may_be_copied(rate: str) -> None:
    assert most_bit_rate(preset_for("mp3", ["-b:a", rate])) == 192_000
    assert most_bit_rate(PRESETS["flac"]) is None
