"""The ffmpeg options that users may add to a preset, and the values that each may have."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.media.sync import IN_TIME

StreamKind = Literal["audio", "video"]


@dataclass(frozen=True)
class AllowedOption:
    """An ffmpeg option that users may add."""

    stream: StreamKind
    pattern: str  # a regular expression for the whole value
    description: str  # of the allowed values, for errors


_AUDIO_CODECS = "aac alac copy flac libmp3lame libopus libvorbis pcm_s16le pcm_s24le"
_VIDEO_CODECS = "copy libsvtav1 libvpx libvpx-vp9 libx264 libx265"
_SPEEDS = "ultrafast superfast veryfast faster fast medium slow slower veryslow"
_PIXELS = "yuv420p yuv422p yuv444p yuv420p10le yuv422p10le yuv444p10le"
_SAMPLES = "s16 s32 flt s16p s32p fltp"
_BIT_RATE = (r"[1-9]\d{0,8}|[1-9]\d{0,5}k|[1-9]\d{0,2}M", "a bit rate such as 256k")
_QUALITY = (r"\d{1,2}(\.\d{1,2})?", "a number such as 2")


def _one_of(words: str) -> tuple[str, str]:
    return "|".join(map(re.escape, words.split())), "one of " + ", ".join(words.split())


# A number with a unit such as dB, a ratio, or a plain word. Paths, quotes, brackets and escapes do
# not match.
_FILTER_VALUE = r"[-+]?\d{1,9}(?:\.\d{1,9})?[a-zA-Z]{0,2}|\d{1,6}/\d{1,6}|[a-z][a-z0-9_]{0,15}"


def _filter_pattern(name: str, keys: str) -> str:
    """Return a pattern for one filter: at most two values without keys, then values with keys.

    Users cannot reach other options of the filter, such as loudnorm's stats_file: neither by their
    key nor by their position.
    """
    if not keys:
        return name
    value = f"(?:{_FILTER_VALUE})"
    keyed = f"(?:{'|'.join(keys.split())})={value}"
    return f"{name}(?:={value}(?::{value})?(?::{keyed})*|={keyed}(?::{keyed})*)?"


def _filter_chain(filters: Mapping[str, str]) -> tuple[str, str]:
    """Return the pattern and the description of a chain of these filters (name → keys)."""
    one = "|".join(_filter_pattern(name, keys) for name, keys in filters.items())
    names = (f"{name}={keys.replace(' ', '|')}" if keys else name for name, keys in filters.items())
    description = (
        f"filters joined by commas, each as name=key=value:key=value. Allowed: {', '.join(names)}"
    )
    return f"(?:{one})(?:,(?:{one}))*", description


# Filters that open no file and keep the length of a stream. runner.sh checks the length.
_AUDIO_FILTERS = {
    "acompressor": "threshold ratio attack release makeup knee mix",
    "aresample": "async osr resampler",
    "bass": "g f w",
    "dynaudnorm": "f g p m r n c b s t",
    "equalizer": "f g w t",
    "highpass": "f p",
    "loudnorm": "I LRA TP linear offset dual_mono",
    "lowpass": "f p",
    "treble": "g f w",
    "volume": "volume precision",
}
_VIDEO_FILTERS = {
    "bwdif": "mode parity deint",
    "crop": "w h x y",
    "eq": "contrast brightness saturation gamma",
    "fps": "fps",
    "hflip": "",
    "hqdn3d": "luma_spatial chroma_spatial luma_tmp chroma_tmp",
    "pad": "w h x y",
    "scale": "w h flags",
    "setsar": "sar",
    "transpose": "dir",
    "unsharp": "lx ly la cx cy ca",
    "vflip": "",
    "yadif": "mode parity deint",
}

ALLOWED_OPTIONS: Mapping[str, AllowedOption] = {
    "-b:a": AllowedOption("audio", *_BIT_RATE),
    "-b:v": AllowedOption("video", *_BIT_RATE),
    "-maxrate": AllowedOption("video", *_BIT_RATE),
    "-bufsize": AllowedOption("video", *_BIT_RATE),
    "-q:a": AllowedOption("audio", *_QUALITY),
    "-crf": AllowedOption("video", *_QUALITY),
    "-c:a": AllowedOption("audio", *_one_of(_AUDIO_CODECS)),
    "-c:v": AllowedOption("video", *_one_of(_VIDEO_CODECS)),
    "-ar": AllowedOption("audio", r"[1-9]\d{3,5}", "samples per second such as 44100"),
    "-ac": AllowedOption("audio", r"[1-8]", "1 to 8 channels"),
    "-sample_fmt": AllowedOption("audio", *_one_of(_SAMPLES)),
    "-compression_level": AllowedOption("audio", r"\d|1[0-2]", "0 to 12"),
    "-r": AllowedOption(
        "video", r"[1-9]\d{0,2}(\.\d{1,3})?|\d{1,6}/\d{1,5}", "frames per second such as 25"
    ),
    "-g": AllowedOption("video", r"[1-9]\d{0,3}", "frames between key frames such as 250"),
    "-preset": AllowedOption("video", *_one_of(_SPEEDS)),
    "-pix_fmt": AllowedOption("video", *_one_of(_PIXELS)),
    "-af": AllowedOption("audio", *_filter_chain(_AUDIO_FILTERS)),
    "-vf": AllowedOption("video", *_filter_chain(_VIDEO_FILTERS)),
}


def add_options(
    arguments: tuple[str, ...],
    options: Sequence[str],
    *,
    preset: str,
    streams: Sequence[StreamKind],
) -> tuple[str, ...]:
    """Return the preset's arguments with the user's options added.

    A user's value replaces the preset's. A user's filters run before the preset's, but after
    those that keep the sound in time. Sound that is copied has no filters.

    Raises:
        ValueError: An option or value that is not allowed.
    """
    for option, value in _pairs(options):
        _check(option, value, preset=preset, streams=streams)
        arguments = _with_option(arguments, option, value)
    # ffmpeg cannot filter sound that it copies.
    is_copied = option_value(arguments, "-c:a") == "copy"
    return without_options(arguments, "-af") if is_copied else arguments


def _pairs(options: Sequence[str]) -> list[tuple[str, str]]:
    if isinstance(options, str):
        raise ValueError('ffmpeg options must be a list such as ["-b:a", "256k"], not one string')  # noqa: TRY004  pydantic reports a ValueError
    if len(options) % 2:
        raise ValueError(f'ffmpeg option {options[-1]!r} has no value: write "{options[-1]} VALUE"')
    return list(zip(options[::2], options[1::2], strict=True))


def _check(option: str, value: str, *, preset: str, streams: Sequence[StreamKind]) -> None:
    allowed = ALLOWED_OPTIONS.get(option)
    if allowed is None:
        names = ", ".join(ALLOWED_OPTIONS)
        raise ValueError(f"ffmpeg option {option!r} is not allowed. Use one of: {names}")
    if allowed.stream not in streams:
        raise ValueError(
            f"ffmpeg option {option} is for {allowed.stream}, but preset {preset} makes no"
            f" {allowed.stream}. Leave out the option or the preset"
        )
    if not re.fullmatch(allowed.pattern, value, re.ASCII):
        raise ValueError(f"ffmpeg option {option} cannot be {value!r}. Use {allowed.description}")


def _with_option(arguments: tuple[str, ...], option: str, value: str) -> tuple[str, ...]:
    if option not in arguments:
        return (*arguments, option, value)
    at = arguments.index(option) + 1
    return (*arguments[:at], _combined(option, value, arguments[at]), *arguments[at + 1 :])


def _combined(option: str, value: str, preset_value: str) -> str:
    if preset_value.startswith(IN_TIME):
        return f"{IN_TIME},{value}{preset_value.removeprefix(IN_TIME)}"
    return f"{value},{preset_value}" if option in ("-af", "-vf") else value


def option_value(arguments: Sequence[str], option: str) -> str:
    """Return the value of an option in pairs of option and value. "": they do not have it.

    If it is there several times, ffmpeg uses the last value.
    """
    values = [arguments[at + 1] for at in range(0, len(arguments), 2) if arguments[at] == option]
    return values[-1] if values else ""


def without_options(arguments: Sequence[str], *options: str) -> tuple[str, ...]:
    """Return the pairs of option and value without those of these options."""
    pairs = zip(arguments[::2], arguments[1::2], strict=True)
    return tuple(word for pair in pairs if pair[0] not in options for word in pair)
