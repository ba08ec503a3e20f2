"""The presets: what ffmpeg makes of a source."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from tasks.media.ffmpeg_options import StreamKind, add_options
from tasks.media.languages import primary_language
from tasks.media.sync import COUNTED, IN_TIME

PresetName = Literal[
    "mp3",
    "mp3-320k",
    "m4a",
    "opus",
    "opus-speech",
    "flac",
    "wav",
    "wav-16k",
    "mp4-720p",
    "webm",
]


@dataclass(frozen=True)
class Choices:
    """What the user prefers in sources with several tracks, or in the preset's own format.

    Attributes:
        languages: Languages of the sound track, the preferred one first, such as eng.
        tracks: Whether outputs have one sound track, or all of them and the text subtitles.
        copy: Whether sound that fits already is copied instead of encoded again.
    """

    languages: tuple[str, ...] = ()
    tracks: Literal["default", "all"] = "default"
    copy: Literal["auto", "never"] = "auto"

    @property
    def words(self) -> tuple[str, ...]:
        """The choices that are not the default, as they are in keys."""
        # eng, en and en-GB choose the same track.
        codes = (primary_language(language) or language for language in self.languages)
        languages = (f"languages {' '.join(codes)}",) if self.languages else ()
        tracks = ("tracks all",) if self.tracks == "all" else ()
        return (*languages, *tracks, *(("copy never",) if self.copy == "never" else ()))


_NO_CHOICES = Choices()


@dataclass(frozen=True)
class Preset:
    """One way to convert a source.

    Attributes:
        name: The name by which users choose the preset.
        suffix: Suffix of the outputs, with its dot.
        content_type: Content type of the outputs.
        streams: Kinds of streams that the preset maps. The source must have the first; the others
            are optional.
        arguments: ffmpeg's arguments between the input and the output, as pairs of option and
            value.
        version: Part of the key of each output, from version 2 on. Raise it whenever the same
            source would give another output: after a change of `arguments`, of
            source_arguments.py, of what copying.py copies, of the track that tracks.py chooses, of
            the tags that tag_file.py writes, or of what runner.sh adds. If `arguments` change, keep
            the old ones in _EARLIER_ARGUMENTS. Outputs of earlier versions are skipped until the
            user forces them.
        earlier: The earlier versions of the preset, the newest first.
        holds_cover: Whether outputs keep the cover art of the source.
        holds_24_bits: Whether outputs have 24 bits per sample if the source has more than 16.
        holds_tracks: Whether outputs can have several sound tracks.
        subtitles: ffmpeg's codec for text subtitles. "": outputs have none.
        choices: What the user prefers. They are in the key of each output.
        most_channels: The largest number of channels that outputs can have. None: any.
    """

    name: str
    suffix: str
    content_type: str
    streams: tuple[StreamKind, ...]
    arguments: tuple[str, ...]
    version: int = 2  # of all presets that do not give their own
    earlier: tuple["Preset", ...] = ()
    holds_cover: bool = False
    holds_24_bits: bool = False
    holds_tracks: bool = False
    subtitles: str = ""
    choices: Choices = _NO_CHOICES
    most_channels: int | None = 8  # as AAC, Opus and FLAC


# `V` selects video without attached pictures (cover art); `v` would include them. For outputs that
# keep the cover, source_arguments.py maps it.
_AUDIO = ("-map", "0:a:0", "-map_metadata", "0")
_VIDEO = ("-map", "0:V:0", "-map", "0:a:0?", "-map_metadata", "0")
_FASTSTART = ("-movflags", "+faststart")
_IN_TIME = ("-af", f"{IN_TIME},{COUNTED}")
# libopus rejects 5.1(side), which films use, and ffmpeg puts the channels of 5.0 and 6.1 into wrong
# places (its ticket 8939). aformat picks the nearest of the other layouts.
_LAYOUTS = "aformat=channel_layouts=7.1|5.1|quad|3.0|stereo|mono"
_LAYOUTS_OF_VERSION_1 = "aformat=channel_layouts=7.1|6.1|5.1|5.0|quad|3.0|stereo|mono"
# The AAC encoder rejects sound whose layout is not known, such as Speex.
_AAC_LAYOUTS = "aformat=channel_layouts=7.1|6.1|5.1|5.0|4.0|quad|3.0|2.1|stereo|mono"
_AAC = ("-af", f"{IN_TIME},{_AAC_LAYOUTS},{COUNTED}")
_OPUS = (
    *("-c:a", "libopus", "-b:a", "128k"),
    *("-af", f"{IN_TIME},{_LAYOUTS},{COUNTED}"),
)
_MONO = ("-ac", "1")
_AT_MOST_720 = "scale=w=-2:h='min(720,trunc(ih/2)*2)'"
# Measured on a 640x360 film: `-deadline good -cpu-used 4` takes four times as long as these options
# and saves a seventh of the size at the same SSIM. On nodes paid by the hour, time costs more.
_VP9 = (
    *("-c:v", "libvpx-vp9", "-crf", "32", "-b:v", "0", "-pix_fmt", "yuv420p"),
    *("-deadline", "realtime", "-cpu-used", "6", "-row-mt", "1"),
)


def _mp3(name: str, rate: str) -> Preset:
    arguments = (*_AUDIO, "-c:a", "libmp3lame", "-b:a", rate, *_IN_TIME, "-id3v2_version", "3")
    return Preset(
        name, ".mp3", "audio/mpeg", ("audio",), arguments, holds_cover=True, most_channels=2
    )


_ALL = (
    _mp3("mp3", "192k"),
    _mp3("mp3-320k", "320k"),
    Preset(
        "m4a",
        ".m4a",
        "audio/mp4",
        ("audio",),
        (*_AUDIO, "-c:a", "aac", "-b:a", "192k", *_AAC, *_FASTSTART),
        holds_cover=True,
        holds_tracks=True,
    ),
    Preset("opus", ".opus", "audio/ogg", ("audio",), (*_AUDIO, *_OPUS)),
    Preset(
        "opus-speech",
        ".opus",
        "audio/ogg",
        ("audio",),
        (
            *(*_AUDIO, "-c:a", "libopus", "-b:a", "24k", "-application", "voip", *_MONO),
            *_IN_TIME,
        ),
        version=1,
        most_channels=1,
    ),
    Preset(
        "flac",
        ".flac",
        "audio/flac",
        ("audio",),
        (*_AUDIO, "-c:a", "flac", *_IN_TIME),
        holds_cover=True,
        holds_24_bits=True,
    ),
    Preset(
        "wav",
        ".wav",
        "audio/wav",
        ("audio",),
        # Plain WAV holds at most 4 GiB. ffmpeg writes RF64 if the sound is larger.
        (*_AUDIO, "-c:a", "pcm_s16le", *_IN_TIME, "-rf64", "auto"),
        most_channels=None,
    ),
    Preset(
        "wav-16k",
        ".wav",
        "audio/wav",
        ("audio",),
        (*_AUDIO, "-c:a", "pcm_s16le", "-ar", "16000", *_MONO, *_IN_TIME, "-rf64", "auto"),
        version=1,
        most_channels=1,
    ),
    Preset(
        "mp4-720p",
        ".mp4",
        "video/mp4",
        ("video", "audio"),
        (
            *_VIDEO,
            *("-c:v", "libx264", "-preset", "fast", "-crf", "23", "-pix_fmt", "yuv420p"),
            *("-vf", _AT_MOST_720, "-c:a", "aac", "-b:a", "160k", *_AAC, *_FASTSTART),
        ),
        holds_tracks=True,
        subtitles="mov_text",
    ),
    Preset(
        "webm",
        ".webm",
        "video/webm",
        ("video", "audio"),
        (*_VIDEO, *_VP9, *_OPUS),
        holds_tracks=True,
        subtitles="webvtt",
    ),
)


def _without_sync(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """Return the arguments of version 1, which closed the gaps of a source."""
    pairs = zip(arguments[::2], arguments[1::2], strict=True)
    chains = ((option, _without_filters(value)) for option, value in pairs)
    return tuple(word for option, value in chains if value for word in (option, value))


def _without_filters(chain: str) -> str:
    for own in (IN_TIME, _AAC_LAYOUTS, COUNTED):
        chain = chain.replace(own, "").strip(",")
    return chain.replace(_LAYOUTS, _LAYOUTS_OF_VERSION_1)


# By preset and version: the arguments of that version, if those of the next version are different.
_EARLIER_ARGUMENTS: Mapping[tuple[str, int], tuple[str, ...]] = {
    (preset.name, 1): _without_sync(preset.arguments) for preset in _ALL
}


def with_earlier_versions(
    preset: Preset, arguments: Mapping[tuple[str, int], tuple[str, ...]]
) -> Preset:
    """Return the preset with its earlier versions. `arguments` are as in _EARLIER_ARGUMENTS."""
    earlier = [preset]
    for version in range(preset.version - 1, 0, -1):
        own = arguments.get((preset.name, version), earlier[-1].arguments)
        earlier.append(replace(preset, version=version, arguments=own))
    return replace(preset, earlier=tuple(earlier[1:]))


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {preset.name: with_earlier_versions(preset, _EARLIER_ARGUMENTS) for preset in _ALL}
)


def presets_for(
    names: Sequence[str], options: Sequence[str] = (), choices: Choices = _NO_CHOICES
) -> tuple[Preset, ...]:
    """Return the presets with these names, in the order of PRESETS, each with all of the options.

    Raises:
        ValueError: An unknown preset, or an option or choice that one of them rejects.
    """
    chosen = (with_choices(preset_for(name, options), choices) for name in names)
    return tuple(sorted(chosen, key=lambda preset: list(PRESETS).index(preset.name)))


def preset_for(name: str, options: Sequence[str] = ()) -> Preset:
    """Return the preset with this name, with the user's ffmpeg options added to it.

    Raises:
        ValueError: An unknown preset, or an option or value that is not allowed.
    """
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; choose one of {', '.join(PRESETS)}")
    preset = PRESETS[name]
    return with_options(preset, options) if options else preset


def with_choices(preset: Preset, choices: Choices) -> Preset:
    """Return the preset with the user's choices.

    Outputs of earlier versions have the first sound track, so they are not what was chosen.

    Raises:
        ValueError: The format of the preset cannot hold all tracks.
    """
    if choices.tracks == "all" and not preset.holds_tracks:
        able = ", ".join(name for name, other in PRESETS.items() if other.holds_tracks)
        raise ValueError(
            f"preset {preset.name} holds one sound track: set output.tracks to 'default', or use"
            f" the presets {able}"
        )
    chosen = replace(preset, choices=choices) if choices.words else preset
    has_track_choice = bool(choices.languages) or choices.tracks == "all"
    return replace(chosen, earlier=()) if has_track_choice else chosen


def with_options(preset: Preset, options: Sequence[str]) -> Preset:
    """Return the preset with the options added to it and to its earlier versions."""
    streams = preset.streams
    arguments = add_options(preset.arguments, options, preset=preset.name, streams=streams)
    earlier = tuple(with_options(version, options) for version in preset.earlier)
    return replace(preset, arguments=arguments, earlier=earlier)
