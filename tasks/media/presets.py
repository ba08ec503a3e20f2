"""The presets: what ffmpeg makes of a source, and which options of their own users may add."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

PresetName = Literal["mp3", "mp3-320k", "m4a", "opus", "flac", "wav", "mp4-720p", "webm"]
StreamKind = Literal["audio", "video"]


@dataclass(frozen=True)
class Preset:
    """One way to convert.

    Attributes:
        name: The name users choose it by.
        suffix: Of the outputs, with its dot.
        content_type: Of the outputs.
        streams: The source's streams that it maps. It needs the first; others where there are any.
        arguments: ffmpeg's arguments between the input and the output: pairs of option and value.
        holds_cover: Whether outputs keep the source's cover art.
        holds_24_bits: Whether outputs have 24 bits a sample where the source has that many.
    """

    name: str
    suffix: str
    content_type: str
    streams: tuple[StreamKind, ...]
    arguments: tuple[str, ...]
    holds_cover: bool = False
    holds_24_bits: bool = False


# Attached pictures (cover art) are no video: `V` leaves them out, where `v` would take them in. A
# cover that is kept is mapped by `source_arguments` in probe.py.
_AUDIO = ("-map", "0:a:0", "-map_metadata", "0")
_VIDEO = ("-map", "0:V:0", "-map", "0:a:0?", "-map_metadata", "0")
_FASTSTART = ("-movflags", "+faststart")
# libopus takes no 5.1(side), as films have it: aformat picks the nearest of what it takes.
_OPUS = (
    *("-c:a", "libopus", "-b:a", "128k"),
    *("-af", "aformat=channel_layouts=7.1|6.1|5.1|5.0|quad|3.0|stereo|mono"),
)
_AT_MOST_720 = "scale=w=-2:h='min(720,trunc(ih/2)*2)'"
# Measured on a 640x360 film: `-deadline good -cpu-used 4` takes four times as long as this, and
# saves a seventh of the size at the same SSIM; on nodes paid by the hour time is dearer.
_VP9 = (
    *("-c:v", "libvpx-vp9", "-crf", "32", "-b:v", "0", "-pix_fmt", "yuv420p"),
    *("-deadline", "realtime", "-cpu-used", "6", "-row-mt", "1"),
)


def _mp3(name: str, rate: str) -> Preset:
    arguments = (*_AUDIO, "-c:a", "libmp3lame", "-b:a", rate, "-id3v2_version", "3")
    return Preset(name, ".mp3", "audio/mpeg", ("audio",), arguments, holds_cover=True)


_ALL = (
    _mp3("mp3", "192k"),
    _mp3("mp3-320k", "320k"),
    Preset(
        "m4a",
        ".m4a",
        "audio/mp4",
        ("audio",),
        (*_AUDIO, "-c:a", "aac", "-b:a", "192k", *_FASTSTART),
        holds_cover=True,
    ),
    Preset("opus", ".opus", "audio/ogg", ("audio",), (*_AUDIO, *_OPUS)),
    Preset(
        "flac",
        ".flac",
        "audio/flac",
        ("audio",),
        (*_AUDIO, "-c:a", "flac"),
        holds_cover=True,
        holds_24_bits=True,
    ),
    Preset(
        "wav",
        ".wav",
        "audio/wav",
        ("audio",),
        # RF64 where the sound is longer than the 4 GiB that plain WAV can count.
        (*_AUDIO, "-c:a", "pcm_s16le", "-rf64", "auto"),
    ),
    Preset(
        "mp4-720p",
        ".mp4",
        "video/mp4",
        ("video", "audio"),
        (
            *_VIDEO,
            *("-c:v", "libx264", "-preset", "fast", "-crf", "23", "-pix_fmt", "yuv420p"),
            *("-vf", _AT_MOST_720, "-c:a", "aac", "-b:a", "160k", *_FASTSTART),
        ),
    ),
    Preset("webm", ".webm", "video/webm", ("video", "audio"), (*_VIDEO, *_VP9, *_OPUS)),
)
PRESETS: Mapping[str, Preset] = MappingProxyType({preset.name: preset for preset in _ALL})


@dataclass(frozen=True)
class _Option:
    """An ffmpeg option that users may set: for which stream, in which form, and that in words."""

    stream: StreamKind
    form: str
    allowed: str


_AUDIO_CODECS = "aac alac copy flac libmp3lame libopus libvorbis pcm_s16le pcm_s24le"
_VIDEO_CODECS = "copy libsvtav1 libvpx libvpx-vp9 libx264 libx265"
_SPEEDS = "ultrafast superfast veryfast faster fast medium slow slower veryslow"
_PIXELS = "yuv420p yuv422p yuv444p yuv420p10le yuv422p10le yuv444p10le"
_SAMPLES = "s16 s32 flt s16p s32p fltp"
_BIT_RATE = (r"[1-9]\d{0,8}|[1-9]\d{0,5}k|[1-9]\d{0,2}M", "a bit rate such as 256k")
_QUALITY = (r"\d{1,2}(\.\d{1,2})?", "a number such as 2")


def _one_of(words: str) -> tuple[str, str]:
    return "|".join(map(re.escape, words.split())), "one of " + ", ".join(words.split())


# A number with a unit such as dB, a ratio, or a plain word: no path, quote, bracket or escape.
_FILTER_VALUE = r"[-+]?\d{1,9}(?:\.\d{1,9})?[a-zA-Z]{0,2}|\d{1,6}/\d{1,6}|[a-z][a-z0-9_]{0,15}"


def _filter(name: str, keys: str) -> str:
    """The form of one filter: two values without their keys at most, then values with them.

    So no option beside these (such as loudnorm's stats_file) can be named, nor reached by counting.
    """
    if not keys:
        return name
    value = f"(?:{_FILTER_VALUE})"
    keyed = f"(?:{'|'.join(keys.split())})={value}"
    return f"{name}(?:={value}(?::{value})?(?::{keyed})*|={keyed}(?::{keyed})*)?"


def _filters(filters: Mapping[str, str]) -> tuple[str, str]:
    """The form of a chain of these filters (name → keys), and what it is in words."""
    one = "|".join(_filter(name, keys) for name, keys in filters.items())
    names = (f"{name}={keys.replace(' ', '|')}" if keys else name for name, keys in filters.items())
    allowed = f"filters such as name=key=value:key=value, joined by commas, of {', '.join(names)}"
    return f"(?:{one})(?:,(?:{one}))*", allowed


# Filters that open no file and keep the length of what passes through them (the runner checks it).
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

_OPTIONS: Mapping[str, _Option] = {
    "-b:a": _Option("audio", *_BIT_RATE),
    "-b:v": _Option("video", *_BIT_RATE),
    "-maxrate": _Option("video", *_BIT_RATE),
    "-bufsize": _Option("video", *_BIT_RATE),
    "-q:a": _Option("audio", *_QUALITY),
    "-crf": _Option("video", *_QUALITY),
    "-c:a": _Option("audio", *_one_of(_AUDIO_CODECS)),
    "-c:v": _Option("video", *_one_of(_VIDEO_CODECS)),
    "-ar": _Option("audio", r"[1-9]\d{3,5}", "samples a second such as 44100"),
    "-ac": _Option("audio", r"[1-8]", "1 to 8 channels"),
    "-sample_fmt": _Option("audio", *_one_of(_SAMPLES)),
    "-compression_level": _Option("audio", r"\d|1[0-2]", "0 to 12"),
    "-r": _Option("video", r"[1-9]\d{0,2}(\.\d{1,3})?|\d{1,6}/\d{1,5}", "a rate such as 25"),
    "-g": _Option("video", r"[1-9]\d{0,3}", "frames between key frames such as 250"),
    "-preset": _Option("video", *_one_of(_SPEEDS)),
    "-pix_fmt": _Option("video", *_one_of(_PIXELS)),
    "-af": _Option("audio", *_filters(_AUDIO_FILTERS)),
    "-vf": _Option("video", *_filters(_VIDEO_FILTERS)),
}


def presets_for(names: Sequence[str], options: Sequence[str] = ()) -> tuple[Preset, ...]:
    """The presets of those names, in the order of the list above, each with all of the options.

    Raises:
        ValueError: As `preset_for`, which each of them must pass.
    """
    chosen = (preset_for(name, options) for name in names)
    return tuple(sorted(chosen, key=lambda preset: list(PRESETS).index(preset.name)))


def preset_for(name: str, options: Sequence[str] = ()) -> Preset:
    """The preset of that name, with the user's own ffmpeg options added to it.

    A user's value takes the place of the preset's; a user's filters come before the preset's.

    Raises:
        ValueError: There is no such preset, or an option or its value is not allowed.
    """
    if name not in PRESETS:
        raise ValueError(f"there is no preset {name!r}; there are {', '.join(PRESETS)}")
    preset = PRESETS[name]
    for option, value in _pairs(options):
        _check(preset, option, value)
        preset = replace(preset, arguments=_with(preset.arguments, option, value))
    return preset


def _pairs(options: Sequence[str]) -> list[tuple[str, str]]:
    if isinstance(options, str):
        raise ValueError('ffmpeg options are a list such as ["-b:a", "256k"], not one text')  # noqa: TRY004
    if len(options) % 2:
        raise ValueError(f'ffmpeg option {options[-1]!r} has no value: write "{options[-1]} VALUE"')
    return list(zip(options[::2], options[1::2], strict=True))


def _check(preset: Preset, option: str, value: str) -> None:
    allowed = _OPTIONS.get(option)
    if allowed is None:
        raise ValueError(
            f"ffmpeg option {option!r} is not allowed; allowed are {', '.join(_OPTIONS)}"
        )
    if allowed.stream not in preset.streams:
        raise ValueError(
            f"ffmpeg option {option} is for {allowed.stream}; preset {preset.name} has none:"
            " convert to it without that option"
        )
    if not re.fullmatch(allowed.form, value, re.ASCII):
        raise ValueError(f"ffmpeg option {option} cannot be {value!r}; it takes {allowed.allowed}")


def _with(arguments: tuple[str, ...], option: str, value: str) -> tuple[str, ...]:
    if option not in arguments:
        return (*arguments, option, value)
    at = arguments.index(option) + 1
    combined = f"{value},{arguments[at]}" if option in ("-af", "-vf") else value
    return (*arguments[:at], combined, *arguments[at + 1 :])
