"""The ffmpeg command that runner.sh runs on a node, for people to read and to try."""

from tasks.media.input_limits import FORMATS, MOST_PIXELS, MOST_SECONDS
from tasks.media.presets import Preset
from tasks.media.sync import PAUSE_SECONDS, with_times


def ffmpeg_words(preset: Preset) -> list[str]:
    """Return the words of the command for a preset.

    For some sources the runner adds `source_arguments`, or another start of the sound. It also adds
    outputs that list what is decoded.
    """
    return [
        *("ffmpeg", "-hide_banner", "-nostdin", "-y"),
        *("-protocol_whitelist", "file", "-format_whitelist", ",".join(FORMATS)),
        *("-max_pixels", str(MOST_PIXELS), "-max_error_rate", "1"),
        *("-dts_delta_threshold", str(PAUSE_SECONDS), "-loglevel", "warning"),
        *("-i", "file:input", "-progress", "progress", *map(with_times, preset.arguments)),
        *("-t", str(MOST_SECONDS), f"file:output{preset.suffix}"),
    ]
