"""The ffmpeg command that runner.sh runs on a node, for people to read and to try."""

from tasks.media.input_limits import FORMATS, MOST_PIXELS
from tasks.media.presets import Preset


def ffmpeg_words(preset: Preset) -> list[str]:
    """Return the words of the command for a preset.

    For some sources the runner adds `source_arguments`. If a source declares its length, the runner
    also adds `-t`.
    """
    return [
        *("ffmpeg", "-hide_banner", "-nostdin", "-y", "-loglevel", "warning"),
        *("-max_error_rate", "0.1", "-max_pixels", str(MOST_PIXELS)),
        *("-protocol_whitelist", "file", "-format_whitelist", ",".join(FORMATS)),
        *("-i", "file:input", *preset.arguments),
        *("-progress", "progress", f"file:output{preset.suffix}"),
    ]
