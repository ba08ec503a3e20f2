from typing import Any

import pytest
from records import a_conversion, a_source

from tasks.media.expected_work import (
    FILE_SECONDS,
    SOUND_COSTS,
    UNKNOWN_FILM_COST,
    UNKNOWN_SOUND_COST,
    expected_seconds_of_work,
    longest_first,
    media_seconds,
    preset_cost,
)
from tasks.media.presets import PRESETS
from tasks.models import Conversion, Extent

SOUND, PICTURE = Extent(0, 60), Extent(0, 60)
COPY = ("-map", "0:a:0", "-c:a", "copy")


def a_minute(preset: str, **values: Any) -> Conversion:
    """Return a conversion of one minute."""
    film = {"picture": PICTURE} if "video" in PRESETS[preset].streams else {}
    return a_conversion(
        preset=PRESETS[preset], **({"seconds": 60, "sounds": (SOUND,)} | film | values)
    )


def work(preset: str, **values: Any) -> float:
    return expected_seconds_of_work(a_minute(preset, **values))


@pytest.mark.parametrize("name", PRESETS)
def test_the_cost_of_each_preset_is_known(name: str) -> None:
    cost = preset_cost(name)
    assert cost.sound in SOUND_COSTS.values()
    assert 0 < cost.film <= UNKNOWN_FILM_COST
    assert cost.is_scaled == (name == "mp4-720p")
    assert min(SOUND_COSTS.values()) < UNKNOWN_SOUND_COST < max(SOUND_COSTS.values())


def test_presets_are_ordered_as_they_were_measured() -> None:
    names = ("wav", "flac", "mp3", "opus", "m4a", "webm", "mp4-720p")
    assert sorted(PRESETS.keys() & set(names), key=work) == list(names)


def test_twice_the_media_is_twice_the_work_and_each_file_takes_a_moment() -> None:
    assert work("mp3", seconds=0) == FILE_SECONDS
    assert work("mp3", seconds=120) - work("mp3") == pytest.approx(work("mp3") - FILE_SECONDS)


def test_copied_sound_is_nearly_free() -> None:
    assert work("m4a", preferred_arguments=COPY) < work("m4a") / 5
    cover = ("-c:v", "copy", "-c:a", "aac")
    assert work("m4a", preferred_arguments=cover) == work("m4a")


def test_each_sound_track_of_the_output_is_work() -> None:
    two = work("m4a", sounds=(SOUND, SOUND)) - FILE_SECONDS
    assert two == pytest.approx(2 * (work("m4a") - FILE_SECONDS))


def test_large_pictures_are_more_work_and_scaling_limits_it() -> None:
    small, large, huge = 640 * 360, 1280 * 720, 3840 * 2160
    webm = [work("webm", pixels=pixels) for pixels in (small, large, huge)]
    scaled = [work("mp4-720p", pixels=pixels) for pixels in (small, large, huge)]
    assert webm[2] > 5 * webm[1] > 10 * webm[0]
    assert 2 * scaled[1] < scaled[2] + scaled[1] < 4 * scaled[1]
    assert work("webm") == webm[1]  # of a size that is not known


@pytest.mark.parametrize(
    ("conversion", "seconds"),
    [
        (a_minute("mp3"), 60),
        (a_minute("mp3", seconds=None, sounds=(Extent(0, None, 90),)), 90),
        (a_minute("webm", seconds=None, sounds=(Extent(0, None),), picture=Extent(0, 70)), 70),
        (a_conversion(a_source("a.MP3", size_bytes=1_600_000)), 100),
        (a_conversion(a_source("a.amr", size_bytes=160_000)), 100),
        (a_conversion(a_source("a.mkv", size_bytes=25_000_000)), 100),
        (a_conversion(a_source("a", size_bytes=25_000_000)), 100),
    ],
)
def test_a_source_without_a_length_is_as_long_as_its_other_streams_or_its_bytes_show(
    conversion: Conversion, seconds: float
) -> None:
    assert media_seconds(conversion) == seconds


def test_the_longest_conversion_is_first_and_equal_ones_keep_their_order() -> None:
    names = ("short", "b", "film", "a", "c")
    lengths = {"short": 1, "film": 7200}
    conversions = [a_conversion(a_source(f"{n}.mp4"), seconds=lengths.get(n, 60)) for n in names]
    found = [conversion.source.name for conversion in longest_first(conversions)]
    assert found == ["film.mp4", "b.mp4", "a.mp4", "c.mp4", "short.mp4"]
