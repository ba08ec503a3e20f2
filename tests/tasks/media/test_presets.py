import re
import subprocess
import sys
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.media.presets import (
    PRESETS,
    Choices,
    Preset,
    PresetName,
    preset_for,
    with_choices,
    with_earlier_versions,
    with_options,
)


def value_of(option: str, arguments: tuple[str, ...]) -> str:
    assert arguments.count(option) == 1
    return arguments[arguments.index(option) + 1]


def test_the_parameters_offer_exactly_the_presets() -> None:
    assert get_args(PresetName) == tuple(PRESETS)


def test_an_unknown_preset_is_refused_with_the_list_of_presets() -> None:
    with pytest.raises(ValueError, match=r"unknown preset 'mp4'; choose one of mp3, .*, webm"):
        preset_for("mp4")


def test_the_presets_import_no_slow_module() -> None:
    code = "import tasks.media.presets, sys; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert not {b"av", b"prefect", b"pydantic"} & set(modules.split())


def test_earlier_versions_have_their_own_arguments_or_those_of_the_next_version() -> None:
    preset = Preset("p", ".mp3", "audio/mpeg", ("audio",), ("-ar", "4"), version=4)
    made = with_earlier_versions(preset, {("p", 2): ("-ar", "2"), ("other", 3): ("-ar", "3")})
    assert [(each.version, each.arguments[1]) for each in made.earlier] == [
        (3, "4"),
        (2, "2"),
        (1, "2"),
    ]


def test_options_are_added_to_earlier_versions_too() -> None:
    old = ("-b:a", "1k", "-af", "volume=3")
    preset = with_earlier_versions(replace(PRESETS["mp3"], version=2), {("mp3", 1): old})
    (first,) = with_options(preset, ["-af", "volume=2"]).earlier
    assert first.arguments == ("-b:a", "1k", "-af", "volume=2,volume=3")


def test_a_preset_without_options_is_unchanged() -> None:
    assert preset_for("flac") is PRESETS["flac"]


def test_a_users_option_replaces_that_of_the_preset() -> None:
    arguments = preset_for("mp3", ["-b:a", "256k"]).arguments
    assert value_of("-b:a", arguments) == "256k"


def test_an_option_that_the_preset_does_not_have_comes_last() -> None:
    arguments = preset_for("mp3", ["-ar", "44100"]).arguments
    assert arguments == (*PRESETS["mp3"].arguments, "-ar", "44100")


def test_a_users_filters_run_before_those_of_the_preset() -> None:
    filters = value_of("-vf", preset_for("mp4-720p", ["-vf", "yadif"]).arguments)
    assert re.fullmatch(r"yadif,scale=w=-2:h=.*720.*", filters)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("-af", "loudnorm=I=-16"),
        ("-af", "loudnorm=I=-16:TP=-1.5:LRA=11,volume=-3dB"),
        ("-af", "highpass=80,lowpass=12000"),
        ("-vf", "scale=1280:-2"),
        ("-vf", "scale=1280:-2:flags=lanczos"),
        ("-vf", "fps=30000/1001,transpose=clock,hflip"),
        ("-vf", "yadif=mode=send_frame"),
        ("-r", "24000/1001"),
        ("-b:v", "2M"),
        ("-c:a", "copy"),
        ("-q:a", "2"),
    ],
)
def test_common_options_and_values_are_allowed(option: str, value: str) -> None:
    assert value in value_of(option, preset_for("webm", [option, value]).arguments)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("-af", "amovie=input"),
        ("-af", "volume=1,amovie=input"),
        ("-af", "volume=1;amovie=input"),
        ("-af", "[0]volume=1[a]"),
        ("-af", "volume=1\\,amovie=input"),
        ("-af", "volume='1'"),
        ("-af", "loudnorm=I=-16:stats_file=input"),
        ("-af", "loudnorm=1:1:1:1:1:1:input"),
        ("-af", "volume=/etc/passwd"),
        ("-af", "volume=1\n"),
        ("-af", ""),
        ("-vf", "movie=input"),
        ("-vf", "subtitles=input"),
        ("-vf", "lut3d=input"),
        ("-vf", "drawtext=textfile=input"),
        ("-vf", "hflip=input"),
        ("-b:a", "256k -i x"),
        ("-b:a", "$(id)"),
        ("-b:a", "٣"),  # a digit that is not ASCII
        ("-ar", "0"),
        ("-c:a", "libfdk_aac"),
        ("-crf", "-1"),
    ],
)
def test_a_value_that_does_not_match_its_pattern_is_refused(option: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"option {option} cannot be .*. Use "):
        preset_for("webm", [option, value])


@pytest.mark.parametrize(
    "option", ["-i", "-map", "-f", "-filter_complex", "-attach", "-passlogfile", "b:a", "out.mp3"]
)
def test_an_option_that_is_not_listed_is_refused_with_the_list(option: str) -> None:
    with pytest.raises(ValueError, match=f"option '{option}' is not allowed. Use one of: -b:a, "):
        preset_for("mp3", [option, "1"])


def test_an_option_without_a_value_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="option '-ar' has no value"):
        preset_for("mp3", ["-b:a", "256k", "-ar"])


def test_a_video_option_for_an_audio_preset_is_refused() -> None:
    with pytest.raises(ValueError, match="-crf is for video, but preset mp3 makes no video"):
        preset_for("mp3", ["-crf", "20"])


def test_options_in_one_string_are_refused() -> None:
    with pytest.raises(ValueError, match='a list such as \\["-b:a", "256k"\\]'):
        preset_for("mp3", "-b:a 256k")


@given(
    st.text(alphabet="volume,amie=:[]'\\/;$ \n\t1.-dB|@%"), st.sampled_from(["-af", "-vf", "-b:a"])
)
def test_no_allowed_value_contains_syntax_of_filters_or_shells(value: str, option: str) -> None:
    try:
        preset_for("webm", [option, value])
    except ValueError:
        return
    assert re.fullmatch(r"[A-Za-z0-9_=:,.+/-]+", value)
    assert "movie" not in value


def test_outputs_of_earlier_versions_are_not_what_a_choice_of_tracks_asks_for() -> None:
    preset = PRESETS["m4a"]
    assert with_choices(preset, Choices(languages=("deu",))).earlier == ()
    assert with_choices(preset, Choices(tracks="all")).earlier == ()
    assert with_choices(preset, Choices(copy="never")).earlier == preset.earlier


def test_codes_of_one_language_are_one_choice() -> None:
    assert Choices(("eng",)).words == Choices(("en-GB",)).words != Choices(("deu",)).words
