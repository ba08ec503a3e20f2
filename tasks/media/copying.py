"""Sound that a preset copies, because it is in the preset's format already. Pure functions."""

from tasks.media.ffmpeg_options import option_value, without_options
from tasks.media.presets import PRESETS, Preset
from tasks.media.source_arguments import all_arguments
from tasks.media.streams import Media, Sound, taken_sounds

# By the encoder of a preset: the codec that it writes, and the formats whose streams decode to the
# same samples after a copy. A node checks this for each file.
_COPYABLE = {
    "libmp3lame": ("mp3", {"mp3"}),
    "aac": ("aac", {"mov,mp4,m4a,3gp,3g2,mj2"}),
    "flac": ("flac", {"flac", "ogg", "matroska,webm"}),
    "pcm_s16le": ("pcm_s16le", {"wav"}),
    "libopus": ("opus", {"ogg"}),
}
_OF_ENCODERS = {"-c:a", "-b:a", "-af", "-ar", "-ac", "-application", "-sample_fmt"}
_LATE_SECONDS = 0.05


def copy_arguments(media: Media, preset: Preset) -> tuple[str, ...]:
    """Return all arguments of a conversion that copies the sound. (): it does not fit."""
    taken = taken_sounds(media, preset)
    if preset.streams != ("audio",) or not taken or not is_usual(preset):
        return ()
    if not all(fits(sound, media.format, preset) for sound in taken):
        return ()
    kept = without_options(all_arguments(media, preset), *_OF_ENCODERS)
    return (*kept, *_header_arguments(taken[0]), "-c:a", "copy")


def _header_arguments(sound: Sound) -> tuple[str, ...]:
    """Leave out the header that MP3 declares its length in, if the source has none.

    It would make decoders skip the first samples.
    """
    return ("-write_xing", "0") if (sound.codec, sound.seconds) == ("mp3", None) else ()


def is_usual(preset: Preset) -> bool:
    """Return whether no option of the user asks for other sound."""
    return preset.choices.copy == "auto" and preset.arguments == PRESETS[preset.name].arguments


def fits(sound: Sound, container: str, preset: Preset) -> bool:
    """Return whether the sound has the codec, channels, rate and start that the preset means."""
    codec, containers = _COPYABLE[option_value(preset.arguments, "-c:a")]
    return (
        (sound.codec, container in containers) == (codec, True)
        and sound.start_seconds < _LATE_SECONDS
        and option_value(preset.arguments, "-ac") in ("", str(sound.channels))
        and option_value(preset.arguments, "-ar") in ("", str(sound.samples_per_second))
        and (sound.bits_per_second <= (most_bit_rate(preset) or sound.bits_per_second))
    )


def most_bit_rate(preset: Preset) -> int | None:
    """Return the most bits per second of a copy. None: the format of the preset has no set rate.

    With a rate of the user, sound is not copied.
    """
    rate = option_value(PRESETS[preset.name].arguments, "-b:a")
    return int(rate.removesuffix("k")) * 1000 if rate else None
