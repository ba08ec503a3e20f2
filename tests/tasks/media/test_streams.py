from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.media.input_limits import MOST_SECONDS
from tasks.media.presets import PRESETS, Choices, preset_for, with_choices
from tasks.media.probe import probe
from tasks.media.source_arguments import source_arguments
from tasks.media.streams import (
    Media,
    Sound,
    Stream,
    exceeded_limit,
    expected_seconds,
    missing_stream,
    sound_extents,
)

Clip = Callable[..., Path]
MP3, FLAC, WEBM = PRESETS["mp3"], PRESETS["flac"], PRESETS["webm"]


@pytest.mark.parametrize(
    ("media", "seconds"),
    [
        (Media((Sound(7),), Stream(10), 10), 7),
        (Media((Sound(7),), None, 7.1), 7),
        (Media((Sound(None),), None, 7.1), 7.1),
        (Media((Sound(None),), Stream(10), 10), None),
        (Media((Sound(None),), None, None), None),
    ],
)
def test_the_mapped_stream_decides_the_expected_length(media: Media, seconds: float | None) -> None:
    assert expected_seconds(media, MP3) == seconds


def test_flac_gets_16_bits_unless_the_source_has_24_or_the_user_sets_a_format() -> None:
    s16 = ("-sample_fmt", "s16")
    assert source_arguments(Media((Sound(7),), None, 7), FLAC) == s16
    assert source_arguments(Media((Sound(7, has_24_bits=True),), None, 7), FLAC) == ()
    own = preset_for("flac", ["-sample_fmt", "s32"])
    assert source_arguments(Media((Sound(7),), None, 7), own) == ()
    assert source_arguments(Media((Sound(7),), None, 7), MP3) == ()


@pytest.mark.parametrize("suffix", [".mp3", ".m4a"])
def test_cover_art_does_not_count_as_video(clip: Clip, suffix: str) -> None:
    media = probe(str(clip(suffix, cover="png")))
    assert missing_stream(media, WEBM) == "no video stream; preset webm requires one"
    assert missing_stream(media, MP3) is None


def test_an_audio_preset_requires_an_audio_stream(clip: Clip) -> None:
    media = probe(str(clip(".mp4", audio=0)))
    assert missing_stream(media, MP3) == "no audio stream; preset mp3 requires one"
    assert missing_stream(media, WEBM) is None
    assert expected_seconds(media, WEBM) == pytest.approx(2)


def test_pictures_above_16k_are_refused_only_if_the_preset_maps_video() -> None:
    huge = Media((Sound(2),), Stream(2, pixels=30_000 * 30_000), 2)
    assert exceeded_limit(huge, MP3) is None
    assert (
        exceeded_limit(huge, WEBM)
        == "its pictures have 900,000,000 pixels; the limit is 134,217,728 (16K)"
    )


def test_a_declared_length_of_more_than_a_week_is_refused() -> None:
    assert exceeded_limit(Media((Sound(MOST_SECONDS),), None, None), MP3) is None
    assert (
        exceeded_limit(Media((Sound(1e9),), None, None), MP3)
        == "it declares a length of 277,778 hours: the file is damaged"
    )


def test_sound_of_more_than_64_channels_is_refused() -> None:
    assert exceeded_limit(Media((Sound(2, channels=64),), None, 2), MP3) is None
    assert (
        exceeded_limit(Media((Sound(2, channels=255),), None, 2), MP3)
        == "its sound has 255 channels; the limit is 64"
    )


def test_a_second_track_that_begins_first_starts_the_output() -> None:
    tracks = (Sound(2, start_seconds=1.2), Sound(2, start_seconds=1, track=1))
    film = Media(tracks, Stream(2, start_seconds=1.5), 3.5, format="mpegts", tracks=2)
    preset = with_choices(PRESETS["mp4-720p"], Choices(tracks="all"))
    starts = [extent.start_seconds for extent in sound_extents(film, preset)]
    assert starts == [pytest.approx(0.2), 0]
