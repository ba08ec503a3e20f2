import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from runner_node import EX_DATAERR, RUNNER, Node, RunnerResult

from tasks.media.presets import PRESETS
from tasks.media.probe import probe
from tasks.media.streams import expected_seconds
from tasks.models import Extent

SHELLS = [["/bin/sh"], ["dash"], ["busybox", "sh"], ["bash", "--posix"]]

Clip = Callable[..., Path]


def half(path: Path) -> bytes:
    whole = path.read_bytes()
    return whole[: len(whole) // 2]


def add_program(path: Path, script: str) -> None:
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def converted_seconds(result: RunnerResult) -> float:
    return float(result.last_line.split()[1])


def mp3_seconds(path: Path) -> float | None:
    return expected_seconds(probe(str(path)), PRESETS["mp3"])


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_whole_source_is_converted_in_every_shell(
    node: Callable[..., Node], clip: Clip, shell: list[str]
) -> None:
    if not (found := shutil.which(shell[0])):
        pytest.skip(f"{shell[0]} is not installed")
    here = node(clip(".mp4"))
    result = Node(here.folder, here.path, (found, *shell[1:])).convert()
    assert (result.status, result.stderr) == (0, "")
    assert result.seconds == pytest.approx(2, abs=0.1)


def test_a_cut_source_with_a_cover_fails(node: Callable[..., Node], clip: Clip) -> None:
    source = clip(".m4a", audio=10, cover="png", muxer=(("movflags", "+faststart"),))
    result = node(half(source)).convert()
    assert result.status == EX_DATAERR
    assert "the source is cut short" in result.last_line


def test_audio_that_is_shorter_than_the_video_is_whole(
    node: Callable[..., Node], clip: Clip
) -> None:
    result = node(clip(".mp4", audio=7, video=10)).convert()
    assert result.status == 0, result.stderr
    assert result.seconds == pytest.approx(7, abs=0.1)


UNEVEN = {"frames_per_second": 100, "lasting": (1, 3, 2, 150, 1, 40)}


@pytest.mark.parametrize(
    ("preset", "shape"),
    [
        ("mp3", {"suffix": ".mp4", "audio_begins": 2}),
        ("mp3", {"suffix": ".mkv", "audio_begins": 2}),
        ("mp3", {"suffix": ".ts", "audio_begins": 2}),
        ("webm", {"suffix": ".mp4", "audio_begins": 2}),
        ("webm", {"suffix": ".ts", "audio_begins": 2}),
        ("mp3", {"suffix": ".avi"}),
        ("mp3", {"suffix": ".mp3", "cover": "png"}),
        ("mp4-720p", {"suffix": ".mp4", "audio": 0, "video": 10, "frames_per_second": 1}),
        ("webm", {"suffix": ".mp4", "audio": 0, "video": 10, "frames_per_second": 1}),
        ("mp3", {"suffix": ".mp4", "audio": 6, "video": 9, **UNEVEN}),
        ("mp4-720p", {"suffix": ".mp4", "audio": 9, "video": 9, **UNEVEN}),
        ("mp4-720p", {"suffix": ".mkv", "audio": 0, "video": 9, **UNEVEN}),
        ("webm", {"suffix": ".mov", "audio": 6, "video": 9, **UNEVEN}),
    ],
)
def test_ffmpeg_writes_the_seconds_that_the_probe_expects(
    node: Callable[..., Node], clip: Clip, preset: str, shape: dict[str, object]
) -> None:
    """Sources with late audio, with tags, and with a low or variable frame rate."""
    source, chosen = clip(**shape), PRESETS[preset]
    seconds = expected_seconds(probe(str(source)), chosen)
    assert seconds
    result = node(source).convert(chosen)
    assert (result.status, result.verified.warnings) == (0, ()), result.stderr
    assert result.seconds == pytest.approx(seconds, abs=0.5)


def test_a_source_cut_in_the_middle_fails_with_the_seconds_converted(
    node: Callable[..., Node], clip: Clip
) -> None:
    source = clip(".mp4", audio=7, video=10, muxer=(("movflags", "+faststart"),))
    here = node(half(source))
    assert mp3_seconds(here.folder / "input") == pytest.approx(7)  # it declares its full length
    result = here.convert()
    assert result.status == EX_DATAERR
    assert 2 < converted_seconds(result) < 5
    assert result.last_line.endswith(" s of 7.00 s were converted: the source is cut short")


@pytest.mark.parametrize(
    ("suffix", "shape"),
    [
        (".mkv", {"seekable": False}),
        (".webm", {"seekable": False}),
        (".flv", {}),
        (".wav", {}),
        (".avi", {}),
        (".flac", {}),
        (".mp3", {}),
        (".mp4", {"muxer": (("movflags", "frag_keyframe+empty_moov"),), "frames_per_second": 2}),
    ],
)
def test_a_cut_source_fails_whether_or_not_it_declares_its_length(
    node: Callable[..., Node], clip: Clip, suffix: str, shape: dict[str, object]
) -> None:
    source = clip(suffix, audio=7, video=10, **shape)
    whole = node(source).convert()
    assert (whole.status, whole.verified.warnings) == (0, ()), whole.stderr
    assert whole.seconds == pytest.approx(7, abs=0.3)
    result = node(half(source)).convert()
    assert result.status == EX_DATAERR, result.stderr
    assert "the source is cut short" in result.last_line
    assert converted_seconds(result) < 5.5


def test_an_old_mp3_with_tags_that_ffmpeg_cannot_decode_is_whole(
    node: Callable[..., Node], clip: Clip
) -> None:
    source = clip(".mp3", audio=7, muxer=(("write_xing", "0"),))
    lyrics = b"LYRICSBEGININD0000200" + b"x" * 300 + b"000321LYRICS200"
    result = node(source.read_bytes() + lyrics + b"TAG" + bytes(125)).run()
    assert result.status == 0, result.stderr
    assert result.seconds == pytest.approx(7, abs=0.1)


def test_a_source_that_cannot_be_decoded_fails(node: Callable[..., Node], clip: Clip) -> None:
    whole = bytearray(clip(".mkv", seekable=False, audio=7, video=0).read_bytes())
    for at in range(3000, len(whole) - 3000, 40):
        whole[at] ^= 0xFF
    result = node(bytes(whole)).run()
    assert result.status != 0


def test_a_source_that_is_longer_than_it_declares_is_converted_whole(
    node: Callable[..., Node], clip: Clip
) -> None:
    result = node(clip(".mp4", audio=7, video=10)).run(sound=Extent(0, 4.9))
    assert (result.status, result.verified.warnings) == (0, ()), result.stderr
    assert result.seconds == pytest.approx(7, abs=0.1)


@pytest.mark.parametrize(("end_seconds", "status"), [(2.4, 0), (2.49, 0), (2.51, EX_DATAERR)])
def test_a_source_may_be_half_a_second_shorter_than_it_declares(
    node: Callable[..., Node], clip: Clip, end_seconds: float, status: int
) -> None:
    preset = PRESETS["wav"]
    result = node(clip(".wav")).run(*preset.arguments, output="o.wav", sound=Extent(0, end_seconds))
    assert result.status == status


@pytest.mark.parametrize(
    "sound",
    [
        "2,5 3 - 0",
        "0 1e3 - 0",
        "0 -1 - 0",
        "1",
        "0 1 -",
        "$(touch pwned) 2 - 0",
        "0 2;ls - 0",
        "0 1 - -",
    ],
)
def test_a_claim_that_is_not_decimal_is_refused(
    node: Callable[..., Node], clip: Clip, sound: str
) -> None:
    result = node(clip(".wav")).run(sound=sound)
    assert result.status == 64
    assert (
        result.last_line
        == f"runner: '{sound}' does not have four numbers: a start, an end, a whole"
        " length and a track"
    )
    assert not (result.folder / "pwned").exists()


def test_a_source_that_ffmpeg_rejects_is_at_fault(node: Callable[..., Node], clip: Clip) -> None:
    result = node(clip(".mp4", audio=0)).run()
    assert result.status == EX_DATAERR
    assert re.fullmatch(r"runner: ffmpeg failed with status \d+", result.last_line)
    assert not list(result.folder.glob("seconds-*"))


@pytest.mark.parametrize(
    ("ending", "status"),
    [("kill -9 $$", 137), ("kill -SEGV $$", 139), ("exit 228", 228), ("exit 1", EX_DATAERR)],
)
def test_a_crash_of_ffmpeg_or_a_full_disk_is_not_blamed_on_the_source(
    tmp_path: Path, tools_folder: Path, ending: str, status: int
) -> None:
    add_program(tmp_path / "bin" / "ffmpeg", ending)
    (tmp_path / "input").write_bytes(b"content")
    assert Node(tmp_path, f"{tmp_path}/bin:{tools_folder}").run().status == status


@pytest.mark.parametrize("message", ["No space left on device", "Cannot allocate memory"])
def test_an_ffmpeg_that_only_prints_what_the_node_lacks_is_not_blamed_on_the_source(
    tmp_path: Path, tools_folder: Path, message: str
) -> None:
    add_program(tmp_path / "bin" / "ffmpeg", f"echo 'x: {message}' >messages\nexit 1")
    (tmp_path / "input").write_bytes(b"content")
    assert Node(tmp_path, f"{tmp_path}/bin:{tools_folder}").run().status == 1


@pytest.mark.parametrize("when", ["always", "judge"])
def test_a_node_that_cannot_measure_does_not_call_a_file_converted(
    tmp_path: Path, clip: Clip, ffmpeg_folder: Path, tools_folder: Path, when: str
) -> None:
    awk = shutil.which("awk")
    script = "exit 2"
    if when == "judge":
        script = f'case "$*" in *fail_cut*) exit 2 ;; esac; exec {awk} "$@"'
    add_program(tmp_path / "bin" / "awk", script)
    shutil.copyfile(clip(".wav"), tmp_path / "input")
    result = Node(tmp_path, f"{tmp_path}/bin:{ffmpeg_folder}:{tools_folder}").run()
    assert result.status == 74
    assert result.last_line == "runner: this node could not write what it measured"
    assert not list(tmp_path.glob("seconds-*"))


def test_a_node_whose_ffmpeg_lacks_an_encoder_is_at_fault(
    node: Callable[..., Node], clip: Clip
) -> None:
    result = node(clip(".wav")).run("-c:a", "nosuch")
    assert result.status == 64
    assert "Unknown encoder 'nosuch'" in result.stderr
    assert result.last_line == "runner: ffmpeg on this node does not have what the preset needs"


def test_an_empty_output_fails(node: Callable[..., Node], clip: Clip) -> None:
    result = node(clip(".wav")).run("-map", "0:a", "-ss", "9", "-f", "s16le", output="output.raw")
    assert result.status == EX_DATAERR
    assert result.last_line == "runner: ffmpeg wrote nothing to output.raw"


def test_a_node_without_ffmpeg_is_an_error(clip: Clip, tmp_path: Path, tools_folder: Path) -> None:
    shutil.copyfile(clip(".wav"), tmp_path / "input")
    result = Node(tmp_path, str(tools_folder)).run()
    assert result.status == 127
    assert result.stderr == f"runner: ffmpeg is not on this node's PATH ({tools_folder})\n"


@pytest.mark.parametrize("name", ["OUTPUT", "FFMPEG_ARGUMENTS"])
def test_a_missing_setting_is_an_error_and_nothing_is_written(
    node: Callable[..., Node], clip: Clip, name: str
) -> None:
    here = node(clip(".wav"))
    environment = here.environment(("-c:a", "flac"), output="output.flac")
    done = subprocess.run(
        ["/bin/sh", str(RUNNER)],
        cwd=here.folder,
        env={**environment, name: ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 64
    assert done.stderr.startswith(f"runner: {name} must ")
    assert [path.name for path in here.folder.iterdir()] == ["input"]


def test_a_missing_input_is_an_error(node: Callable[..., Node], clip: Clip) -> None:
    here = node(clip(".wav"))
    (here.folder / "input").unlink()
    result = here.run()
    assert result.status == 66
    assert "no file named input" in result.last_line


def test_a_second_run_in_the_same_folder_deletes_the_files_of_the_first(
    node: Callable[..., Node], clip: Clip
) -> None:
    assert node(clip(".mp4", audio=7, video=10)).convert().status == 0
    result = node(clip(".wav")).convert()
    assert result.status == 0
    assert result.seconds == pytest.approx(2, abs=0.1)
    node(b"Dear diary")
    failed = Node(result.folder, node(b"Dear diary").path).run()
    assert failed.status != 0
    assert {path.name for path in result.folder.iterdir()} <= {
        "input",
        "messages",
        "progress",
    }


def test_the_real_talk_cut_in_the_middle_fails(
    node: Callable[..., Node], real_clips: dict[str, Path]
) -> None:
    result = node(half(real_clips["LowPriVMs-4.mp4"])).convert()
    assert result.status == EX_DATAERR
    assert re.fullmatch(
        r"runner: \d\d\.\d\d s of 120\.07 s were converted: the source is cut short",
        result.last_line,
    )
