from dataclasses import replace
from typing import Any

import pytest
from records import a_conversion, a_source

from tasks.media.excerpts import LEAST_SAVED_BYTES, as_sent, choose_excerpt, with_excerpts
from tasks.media.presets import PRESETS, Choices, with_choices
from tasks.media.source_arguments import source_arguments
from tasks.media.streams import Media, Sound, Stream, UnreadableMedia
from tasks.models import Conversion, Excerpt, Extent, Source

MOV, MATROSKA = "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"
SIZE_BYTES = 10 * LEAST_SAVED_BYTES
TRACK = Sound(60.0, codec="aac", channels=2, samples_per_second=48_000, bits_per_second=128_000)
FILM = Media(sounds=(TRACK,), video=Stream(60.0, pixels=100), seconds=60.0, format=MOV, tracks=1)
MP3, OPUS, M4A, FILMS = (PRESETS[name] for name in ("mp3", "opus", "m4a", "mp4-720p"))


def chosen(media: Media, *presets: Any, size_bytes: int = SIZE_BYTES) -> Excerpt | None:
    return choose_excerpt(media, presets or (MP3,), size_bytes=size_bytes)


def of_film(*, source: Source | None = None, **values: Any) -> Conversion:
    source = source or a_source(size_bytes=SIZE_BYTES)
    return a_conversion(source, sounds=(Extent(0, 60),), **values)


def planned(*conversions: Conversion, media: Media | UnreadableMedia = FILM) -> list[Conversion]:
    found = {conversion.source: media for conversion in conversions}
    presets = {preset.name: preset for preset in (MP3, OPUS, FILMS)}
    return list(with_excerpts(conversions, found, presets))


def test_of_a_film_the_sound_is_sent() -> None:
    assert chosen(FILM) == Excerpt((0,), "mov")
    assert chosen(replace(FILM, format=MATROSKA)) == Excerpt((0,), "matroska")
    assert chosen(replace(FILM, format="mpegts")) == Excerpt((0,), "matroska")


@pytest.mark.parametrize(
    "media",
    [
        pytest.param(replace(FILM, video=None), id="there is no more than the sound"),
        pytest.param(replace(FILM, format="ogg"), id="the format has no rule"),
        pytest.param(replace(FILM, sounds=(replace(TRACK, codec="opus"),)), id="nor has the codec"),
        pytest.param(replace(FILM, tags=";FFMETADATA1\n"), id="its tags are in another encoding"),
        pytest.param(replace(FILM, sounds=(), tracks=0), id="it has no sound"),
    ],
)
def test_the_whole_source_is_sent_if(media: Media) -> None:
    assert chosen(media) is None


def test_a_source_of_which_little_would_be_left_out_is_sent_whole() -> None:
    sound_bytes = 60 * 128_000 // 8
    least = sound_bytes + LEAST_SAVED_BYTES
    assert chosen(FILM, size_bytes=least)
    assert chosen(FILM, size_bytes=least - 1) is None


def test_only_the_track_that_is_converted_is_sent_or_all_of_them() -> None:
    other = replace(TRACK, track=1, is_default=True)
    media = replace(FILM, sounds=(other, TRACK), tracks=3, video=None)
    assert chosen(media) == Excerpt((1,), "mov")
    every = with_choices(M4A, Choices(tracks="all"))
    assert chosen(media, every) == Excerpt((0, 1), "mov", is_for_copy=True)


def test_the_cover_is_sent_if_an_output_can_keep_it() -> None:
    media = replace(FILM, cover=2)
    assert chosen(media, MP3, OPUS) == Excerpt((0,), "mov", cover=2)
    assert chosen(media, OPUS) == Excerpt((0,), "mov")


def test_an_excerpt_from_which_an_output_may_copy_has_another_name() -> None:
    assert chosen(FILM, M4A) == Excerpt((0,), "mov", is_for_copy=True)
    assert chosen(FILM, with_choices(M4A, Choices(copy="never"))) == Excerpt((0,), "mov")


def test_sound_that_starts_late_is_sent_whole_if_it_is_copied() -> None:
    late = replace(FILM, sounds=(replace(TRACK, start_seconds=0.02),))
    assert chosen(late, MP3) == Excerpt((0,), "mov")
    assert chosen(late, M4A) is None


def test_the_name_of_an_upload_says_what_is_sent() -> None:
    assert str(Excerpt((0, 2), "mov", cover=3)) == "a0-a2-v3-mov"
    assert str(Excerpt((1,), "matroska", is_for_copy=True)) == "a1-matroska-copy"


def test_a_conversion_of_an_excerpt_has_other_numbers_of_tracks_and_of_the_cover() -> None:
    media = replace(FILM, sounds=(replace(TRACK, track=1),), tracks=2, cover=3, format=MATROSKA)
    conversion = replace(of_film(), sounds=(Extent(0.5, 60, track=1),))
    (found,) = planned(conversion, media=media)
    assert found.excerpted
    assert found.excerpt == Excerpt((1,), "matroska", cover=3)
    assert found.excerpted.sounds == (Extent(0, 60, track=0),)
    assert found.excerpted.arguments == source_arguments(
        replace(FILM, cover=1, format=MATROSKA), MP3
    )
    assert "0:1?" in found.excerpted.arguments


def test_the_end_of_the_film_says_nothing_about_its_sound_alone() -> None:
    media = replace(FILM, sounds=(replace(TRACK, seconds=None),), format=MATROSKA)
    (found,) = planned(of_film(), media=media)
    assert found.excerpted
    assert found.excerpted.sounds == (Extent(0, None, None),)


def test_equal_values_of_many_conversions_are_one_object() -> None:
    one, two = planned(of_film(), of_film(source=a_source("b.mp4", size_bytes=SIZE_BYTES)))
    assert one.excerpted
    assert two.excerpted
    assert one.excerpted.sounds is one.sounds
    assert one.excerpted.arguments is two.excerpted.arguments
    assert one.excerpt is two.excerpt


def test_all_presets_take_the_same_excerpt_unless_one_needs_the_film() -> None:
    sound = [of_film(), of_film(preset=OPUS)]
    assert [c.excerpt for c in planned(*sound)] == [Excerpt((0,), "mov")] * 2
    film, other = of_film(preset=FILMS), of_film(content="c1")
    assert [c.excerpt for c in planned(*sound, film, other)] == [
        *[None] * 3,
        Excerpt((0,), "mov"),
    ]


def test_a_blob_is_read_where_it_is() -> None:
    blob = of_film(source=a_source(location="az://media/a.mp4", size_bytes=SIZE_BYTES))
    assert planned(blob) == [blob]


def test_an_excerpt_is_described_as_a_source_with_these_streams_only() -> None:
    media = replace(FILM, sounds=(replace(TRACK, track=2),), tracks=3, subtitles=(0,), cover=5)
    sent = as_sent(media, Excerpt((2,), "mov", cover=5))
    assert (sent.sounds, sent.tracks, sent.subtitles, sent.cover) == ((TRACK,), 1, (), 1)
