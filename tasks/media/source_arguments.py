"""The ffmpeg arguments of a conversion that depend on its source. Pure functions."""

from tasks.media.channels import channel_warnings, sound_filters
from tasks.media.pictures import picture_arguments, picture_warnings
from tasks.media.presets import Preset
from tasks.media.streams import FRONT_COVER, Media, taken_sounds
from tasks.media.tag_arguments import (
    CHAPTER_ARGUMENTS,
    format_arguments,
    ogg_tag_arguments,
    stream_tag_arguments,
)


def source_arguments(media: Media, preset: Preset) -> tuple[str, ...]:
    """Return the ffmpeg arguments that depend on the source. They follow those of the preset.

    A conversion's key does not include them: they depend only on the content and the version of the
    preset. To change these rules, raise the versions of the presets that they concern.
    """
    arguments = (*_track_arguments(media, preset), *_tag_arguments(media, preset))
    if (
        preset.holds_24_bits
        and not (media.audio and media.audio.has_24_bits)
        and "-sample_fmt" not in preset.arguments
    ):
        # Lossy audio decodes to floats. The encoder would keep 24 bits of noise.
        arguments += ("-sample_fmt", "s16")
    arguments += _filter_arguments(media, preset)
    if preset.holds_cover and media.cover is not None:
        # `-0:V?` removes a film that has this index because the node's ffmpeg counts differently.
        arguments += ("-map", f"0:{media.cover}?", "-map", "-0:V?", "-c:v", "copy")
        arguments += ("-disposition:v:0", "attached_pic")
        arguments += ("-metadata:s:v:0", f"comment={FRONT_COVER}")
    if media.video and "video" in preset.streams:
        arguments += picture_arguments(media.pictures, preset)
    return arguments


def all_arguments(media: Media, preset: Preset) -> tuple[str, ...]:
    """Return all ffmpeg arguments of a conversion between its input and its output."""
    return (*preset.arguments, *source_arguments(media, preset))


def _tag_arguments(media: Media, preset: Preset) -> tuple[str, ...]:
    arguments = format_arguments(media.format)
    tracks = [sound.track for sound in taken_sounds(media, preset)]
    if media.format == "ogg" and not tag_text(media, preset):
        arguments += ogg_tag_arguments(tracks)
    if media.has_stream_tags:
        arguments += stream_tag_arguments(
            tracks,
            subtitles=[media.tracks + number for number in media.subtitles],
            has_film="video" in preset.streams,
        )
    if preset.suffix == ".opus":
        return (*arguments, *_opus_tag_arguments(media))
    return arguments + (CHAPTER_ARGUMENTS if media.has_chapters else ())


def _opus_tag_arguments(media: Media) -> tuple[str, ...]:
    # In Ogg, the title of the track would replace that of the recording.
    title = () if media.format == "ogg" else ("-metadata:s:a:0", "title=")
    return (*title, *(("-map_chapters", "-1") if media.opus_tags else ()))


def tag_text(media: Media, preset: Preset) -> str:
    """Return the metadata file of FFmpeg that replaces the tags of the source. "": none."""
    return media.opus_tags if preset.suffix == ".opus" and media.opus_tags else media.tags


def _filter_arguments(media: Media, preset: Preset) -> tuple[str, ...]:
    """Return the filters of sound tracks for which those of the preset are not enough."""
    usual = sound_filters(0, preset)
    chains = [sound_filters(sound.channels, preset) for sound in taken_sounds(media, preset)]
    if not usual or chains in ([], [usual]):
        return ()
    return tuple(w for n, chain in enumerate(chains) for w in (f"-filter:a:{n}", chain))


def _track_arguments(media: Media, preset: Preset) -> tuple[str, ...]:
    """Return the arguments that map other sound tracks than the first, and flag the main one."""
    taken = taken_sounds(media, preset)
    # In WebM, ffmpeg would not flag the only sound track of a source in TS or AVI as the default.
    flags = ("-disposition:a:0", "default") if preset.suffix == ".webm" and taken else ()
    if [sound.track for sound in taken] == [0] and preset.choices.tracks == "default":
        return flags
    if not taken and not media.tracks:
        return ()
    # `-0:a` removes the track that the preset maps.
    maps = [("-map", "-0:a"), *(("-map", f"0:a:{sound.track}") for sound in taken)]
    return (*(word for pair in maps for word in pair), *_arguments_for_all(media, preset), *flags)


def _arguments_for_all(media: Media, preset: Preset) -> tuple[str, ...]:
    if preset.choices.tracks != "all":
        return ()
    numbers = range(len(media.sounds))
    flags = [(f"-disposition:a:{number}", "0" if number else "default") for number in numbers]
    subtitles = [("-map", f"0:s:{track}") for track in media.subtitles if preset.subtitles]
    if subtitles:
        subtitles.append(("-c:s", preset.subtitles))
    # ffmpeg writes no titles of tracks into a file of its type ipod, which it chooses for .m4a.
    form = [("-f", "mp4"), ("-brand", "M4A ")] if preset.suffix == ".m4a" else []
    return tuple(word for pair in (*flags, *subtitles, *form) for word in pair)


def conversion_warnings(media: Media, preset: Preset) -> tuple[str, ...]:
    """Return sentences about what the output cannot keep as it is in the source."""
    channels = max((sound.channels for sound in taken_sounds(media, preset)), default=0)
    about_format = (*picture_warnings(media.pictures, preset), *channel_warnings(channels, preset))
    return (*media.warnings, *about_format)
