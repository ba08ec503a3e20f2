"""Sound with more channels than the format of an output holds: it is mixed down. Pure functions."""

from tasks.media.ffmpeg_options import option_value
from tasks.media.presets import Preset

# ffmpeg has a layout for each number of channels up to this one.
_KNOWN_CHANNELS = 8
_FORMAT_NAMES = {".opus": "Opus", ".webm": "WebM"}  # the others are acronyms


def channel_warnings(channels: int, preset: Preset) -> tuple[str, ...]:
    """Return a sentence if the output has fewer channels, and the user did not set their number."""
    if not _is_mixed_down(channels, preset) or "-ac" in preset.arguments:
        return ()
    name = _FORMAT_NAMES.get(preset.suffix, preset.suffix[1:].upper())
    most = preset.most_channels
    return (f"The source has {channels} channels; {name} holds {most}, so they are mixed down.",)


def sound_filters(channels: int, preset: Preset) -> str:
    """Return the preset's filters for sound with this number of channels. "": it has none.

    ffmpeg itself mixes down to the nearest layout that the format holds. Of more than 8 channels,
    odd ones go to the left and even ones to the right, as in SoX: most versions of ffmpeg do not
    know where they belong.
    """
    filters = option_value(preset.arguments, "-af")
    if channels <= _KNOWN_CHANNELS or not _is_mixed_down(channels, preset):
        return filters
    return f"{_stereo_filter(channels)},{filters}"


def _is_mixed_down(channels: int, preset: Preset) -> bool:
    is_copied = "-af" not in preset.arguments
    return preset.most_channels is not None and channels > preset.most_channels and not is_copied


def _stereo_filter(channels: int) -> str:
    """Return ffmpeg's filter. `<` divides by the number of channels, so that the sum fits."""
    left, right = ("+".join(f"c{n}" for n in range(first, channels, 2)) for first in (0, 1))
    return f"pan=stereo|c0<{left}|c1<{right}"
