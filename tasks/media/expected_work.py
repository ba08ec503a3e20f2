"""How long conversions take, as far as their sources show it before they start. Pure functions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from tasks.media.ffmpeg_options import option_value
from tasks.media.output_names import split_suffix
from tasks.media.presets import PRESETS
from tasks.media.suffixes import SUFFIXES
from tasks.models import Conversion

# Measured: CPU time of runner.sh with Debian's ffmpeg 5.1 on one core of an AMD EPYC, for a talk of
# five minutes (sound in AAC), and for a film in 240p, 720p, 1080p and 2160p. Slides take a fifth of
# a film. A run compares files and measures its own pace, so the ratios matter more than the values.
FILE_SECONDS = 0.08  # for each file, however short it is
COPY_COST = 0.002  # CPU seconds for a second of sound that is copied; most of it checks the copy
DECODE_COST = 0.1  # for a second of film with a million pixels
SOUND_COSTS: Mapping[str, float] = {  # by encoder: for a second of sound, decoded and checked
    "libmp3lame": 0.011,
    "aac": 0.024,
    "libopus": 0.012,
    "flac": 0.003,
    "pcm_s16le": 0.0015,
}
FILM_COSTS: Mapping[str, float] = {"libx264": 0.8, "libvpx-vp9": 0.45}  # as DECODE_COST
UNKNOWN_SOUND_COST, UNKNOWN_FILM_COST = 0.011, 0.8  # of encoders that are not in the tables
MILLION = 1_000_000
PIXELS_720P = 1280 * 720
# Of sources that do not declare a length: usual rates of bare sound by format, and of other files.
FILM_BYTES_PER_SECOND = 250_000
SOUND_BYTES_PER_SECOND: Mapping[str, int] = {
    suffix: rate
    for formats, rate in (
        (("aac", "mp3"), 16_000),
        (("ac3", "eac3"), 48_000),
        (("amr",), 1_600),
        (("dts",), 190_000),
    )
    for name in formats
    for suffix in SUFFIXES[name]
}


@dataclass(frozen=True, slots=True)
class PresetCost:
    """CPU seconds that a preset takes for a second of sound, and of film with a million pixels."""

    sound: float
    film: float
    is_scaled: bool  # to at most 720p


def longest_first(conversions: Iterable[Conversion]) -> list[Conversion]:
    """Sort by expected work, so that no long file starts last. Equal ones keep their order."""
    return sorted(conversions, key=expected_seconds_of_work, reverse=True)


def expected_seconds_of_work(conversion: Conversion) -> float:
    """Return the seconds that a conversion takes on one core, without transfers."""
    return FILE_SECONDS + media_seconds(conversion) * cost_per_second(conversion)


def cost_per_second(conversion: Conversion) -> float:
    """Return the CPU seconds for a second of media."""
    cost = preset_cost(conversion.preset)
    tracks = len(conversion.sounds)
    if conversion.picture is None:
        is_copied = conversion.preferred_arguments[-2:] == ("-c:a", "copy")
        return max(tracks, 1) * (COPY_COST if is_copied else cost.sound)
    pixels = conversion.pixels or PIXELS_720P
    encoded = min(pixels, PIXELS_720P) if cost.is_scaled else pixels
    return tracks * cost.sound + (pixels * DECODE_COST + encoded * cost.film) / MILLION


@cache
def preset_cost(name: str) -> PresetCost:
    arguments = PRESETS[name].arguments
    return PresetCost(
        SOUND_COSTS.get(option_value(arguments, "-c:a"), UNKNOWN_SOUND_COST),
        FILM_COSTS.get(option_value(arguments, "-c:v"), UNKNOWN_FILM_COST),
        is_scaled=option_value(arguments, "-vf") != "",
    )


def media_seconds(conversion: Conversion) -> float:
    """Return the declared length, or one that is usual for a source of this size."""
    if conversion.seconds is not None:
        return conversion.seconds
    extents = (*conversion.sounds, *((conversion.picture,) if conversion.picture else ()))
    ends = (extent.end_seconds or extent.source_seconds or 0 for extent in extents)
    return max(ends, default=0) or estimated_seconds(conversion)


def estimated_seconds(conversion: Conversion) -> float:
    suffix = split_suffix(conversion.source.name)[1].lower()
    rate = SOUND_BYTES_PER_SECOND.get(suffix, FILM_BYTES_PER_SECOND)
    return conversion.source.size_bytes / rate
