"""What a node tries first, before the usual arguments of a conversion."""

from tasks.media.copying import copy_arguments
from tasks.media.pictures import tone_mapped
from tasks.media.presets import Preset
from tasks.media.source_arguments import all_arguments
from tasks.media.streams import Media


def preferred_arguments(media: Media, preset: Preset) -> tuple[str, ...]:
    """Return all arguments of a conversion that a node tries first. (): it tries nothing else.

    A node falls back to the usual arguments if its ffmpeg lacks a filter, or if a copy would not be
    whole and in time.
    """
    return copy_arguments(media, preset) or _tone_mapped(media, preset)


def _tone_mapped(media: Media, preset: Preset) -> tuple[str, ...]:
    if media.video is None or "video" not in preset.streams:
        return ()
    return tone_mapped(media.pictures, all_arguments(media, preset))
