"""Which streams of a source are sent, and what a conversion of them needs. Pure functions.

An excerpt has the sound tracks that the presets take, and the cover. A node makes of it what it
would make of the whole source: tasks/media/fidelity.py proves that for each file.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Literal, TypeVar

from tasks.media.addresses import is_blob
from tasks.media.copying import copy_arguments
from tasks.media.ffmpeg_options import option_value
from tasks.media.preferred import preferred_arguments
from tasks.media.presets import Preset
from tasks.media.source_arguments import source_arguments
from tasks.media.streams import Media, Sound, UnreadableMedia, sound_extents, taken_sounds
from tasks.media.tracks import with_main_track
from tasks.models import Conversion, Excerpt, Excerpted, Extent, Source

Value = TypeVar("Value")

LEAST_SAVED_BYTES = 1 << 20  # to read less again takes as long as to send it on a fast line
TYPICAL_BIT_RATE = 192_000  # bits per second, where the source declares none
_MOV, _MATROSKA = "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"
_LOSSY = frozenset({"aac", "ac3", "eac3", "mp2", "mp3"})
_PCM = frozenset({"pcm_s16be", "pcm_s16le", "pcm_s24be", "pcm_s24le"})
_FORM_OF: Mapping[str, Literal["mov", "matroska"]] = {
    _MOV: "mov",
    _MATROSKA: "matroska",
    "flv": "matroska",
    "mpeg": "matroska",
    "mpegts": "matroska",
}
# By format of the source: the codecs for which all versions of ffmpeg made the same of both.
_CODECS: Mapping[str, frozenset[str]] = {
    _MOV: _LOSSY | _PCM | {"alac"},
    _MATROSKA: _LOSSY | {"alac", "dts", "flac", "opus", "pcm_s16le", "pcm_s24le", "vorbis"},
    "flv": frozenset({"aac", "mp3"}),
    "mpeg": _LOSSY,
    "mpegts": _LOSSY | {"dts"},
}


def with_excerpts(
    conversions: Iterable[Conversion],
    found: Mapping[Source, Media | UnreadableMedia],
    presets: Mapping[str, Preset],
) -> Iterator[Conversion]:
    """Yield the conversions, those of excerpts with what they need.

    One excerpt of a content is for all presets, so that it is sent once. If one of them needs the
    film, the whole source is sent.
    """
    conversions = tuple(conversions)
    films = {c.content for c in conversions if not _is_only_sound(presets[c.preset])}
    of_sound = [preset for preset in presets.values() if _is_only_sound(preset)]
    for conversion in conversions:
        source, media = conversion.source, found[conversion.source]
        is_whole = source.size_bytes < LEAST_SAVED_BYTES or is_blob(source)
        if is_whole or conversion.content in films or isinstance(media, UnreadableMedia):
            yield conversion
            continue
        preset = presets[conversion.preset]
        media = with_main_track(media, preset.choices.languages)
        excerpt = choose_excerpt(media, of_sound, size_bytes=source.size_bytes)
        cut = excerpt and excerpted(conversion, media, preset, excerpt)
        yield replace(conversion, excerpted=cut) if cut else conversion


def choose_excerpt(media: Media, presets: Sequence[Preset], *, size_bytes: int) -> Excerpt | None:
    """Return what to send for these presets, which need only sound. None: the whole source."""
    if media.format not in _FORM_OF or media.tags:
        return None
    sounds = _needed(media, presets)
    if not _has_more(media, sounds) or not _are_known(sounds, media.format):
        return None
    is_for_copy = any(_may_copy(media, preset) for preset in presets)
    if is_for_copy and any(sound.start_seconds for sound in sounds):
        return None  # a copy has no filters that would keep it in time
    if size_bytes - expected_bytes(media, sounds) < LEAST_SAVED_BYTES:
        return None
    has_cover = any(preset.holds_cover for preset in presets)
    tracks = tuple(sorted(sound.track for sound in sounds))
    cover = media.cover if has_cover else None
    return Excerpt(tracks, _FORM_OF[media.format], cover, is_for_copy)


def _may_copy(media: Media, preset: Preset) -> bool:
    """Return whether outputs may have the packets of the source. The user can ask for it too."""
    return option_value(preset.arguments, "-c:a") == "copy" or bool(copy_arguments(media, preset))


def _is_only_sound(preset: Preset) -> bool:
    return preset.streams == ("audio",)


def _needed(media: Media, presets: Sequence[Preset]) -> tuple[Sound, ...]:
    """Return the tracks that at least one of the presets takes."""
    return max((taken_sounds(media, preset) for preset in presets), key=len, default=())


def _has_more(media: Media, sounds: Sequence[Sound]) -> bool:
    return bool(sounds) and (media.video is not None or len(sounds) < media.tracks)


def _are_known(sounds: Sequence[Sound], source_format: str) -> bool:
    return all(sound.codec in _CODECS[source_format] for sound in sounds)


def expected_bytes(media: Media, sounds: Iterable[Sound]) -> int:
    """Return how large the sound may be."""
    return round(
        sum(
            (sound.bits_per_second or TYPICAL_BIT_RATE) * (sound.seconds or media.seconds or 0) / 8
            for sound in sounds
        )
    )


def excerpted(conversion: Conversion, media: Media, preset: Preset, excerpt: Excerpt) -> Excerpted:
    """Return what a conversion of the excerpt has instead of what that of the source has."""
    sent = as_sent(media, excerpt)
    sounds = tuple(_claim(extent, excerpt) for extent in sound_extents(media, preset))
    return Excerpted(
        shared(excerpt),
        expected_bytes(media, _sounds_of(media, excerpt)),
        shared(source_arguments(sent, preset)),
        shared(preferred_arguments(sent, preset)),
        conversion.sounds if sounds == conversion.sounds else sounds,
    )


@lru_cache(maxsize=1024)
def shared(value: Value) -> Value:
    """Return the same object for equal values: most files of a plan are alike."""
    return value


def as_sent(media: Media, excerpt: Excerpt) -> Media:
    """Return the media as the excerpt has them, except that lengths and starts are the source's."""
    sounds = tuple(
        replace(sound, track=excerpt.tracks.index(sound.track))
        for sound in _sounds_of(media, excerpt)
    )
    return replace(
        media,
        sounds=sounds,
        format=media.format if excerpt.form == "mov" else _MATROSKA,
        cover=excerpt.cover_in_excerpt,
        subtitles=(),
        tracks=len(sounds),
    )


def _sounds_of(media: Media, excerpt: Excerpt) -> list[Sound]:
    return [sound for sound in media.sounds if sound.track in excerpt.tracks]


def _claim(extent: Extent, excerpt: Excerpt) -> Extent:
    """Return the extent in an excerpt. It has no other streams, so their end tells nothing."""
    return replace(extent, source_seconds=None, track=excerpt.tracks.index(extent.track))
