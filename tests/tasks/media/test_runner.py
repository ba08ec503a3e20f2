import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import av
import bombs
import pytest
from av.stream import Disposition
from impostors import PLAYLISTS, Canary, with_external_data

from tasks.media.presets import PRESETS, preset_for
from tasks.media.probe import FORMATS, MOST_PIXELS, expected_seconds, probe, source_arguments

RUNNER = Path(__file__).parents[3] / "tasks" / "media" / "runner.sh"
SHELLS = [["/bin/sh"], ["dash"], ["busybox", "sh"], ["bash", "--posix"]]
EX_DATAERR = 65

Clip = Callable[..., Path]


@dataclass(frozen=True)
class Outcome:
    """What a run of the runner left."""

    status: int
    stderr: str
    folder: Path

    @property
    def last_line(self) -> str:
        return self.stderr.splitlines()[-1]

    @property
    def seconds(self) -> float:
        (marker,) = self.folder.glob("seconds-*")
        assert re.fullmatch(r"seconds-\d+\.\d{3}", marker.name)
        assert marker.stat().st_size == 0
        return float(marker.name.removeprefix("seconds-"))


@dataclass(frozen=True)
class Node:
    """A batch task's working folder, with an `input` in it, and the PATH that the runner gets."""

    folder: Path
    path: str
    shell: tuple[str, ...] = ("/bin/sh",)

    def run(
        self, *arguments: str, output: str = "output.mp3", seconds: str | float | None = ""
    ) -> Outcome:
        done = subprocess.run(
            [*self.shell, str(RUNNER)],
            cwd=self.folder,
            env=self.environment(
                arguments or PRESETS["mp3"].arguments,
                output=output,
                seconds="" if seconds is None else str(seconds),
            ),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return Outcome(done.returncode, done.stderr, self.folder)

    def environment(
        self, arguments: tuple[str, ...], *, output: str, seconds: str
    ) -> dict[str, str]:
        return {
            "PATH": self.path,
            "OUTPUT": output,
            "SOURCE_SECONDS": seconds,
            "FFMPEG_ARGUMENTS": "\n".join(arguments),
        }


@pytest.fixture
def node(tmp_path: Path, ffmpeg_folder: Path, tools_folder: Path) -> Callable[..., Node]:
    def with_input(source: Path | bytes) -> Node:
        if isinstance(source, Path):
            shutil.copyfile(source, tmp_path / "input")
        else:
            (tmp_path / "input").write_bytes(source)
        return Node(tmp_path, f"{ffmpeg_folder}:{tools_folder}")

    return with_input


def half(path: Path) -> bytes:
    whole = path.read_bytes()
    return whole[: len(whole) // 2]


def mp3_seconds(path: Path) -> float | None:
    return expected_seconds(probe(str(path)), PRESETS["mp3"])


def is_picture(stream: av.stream.Stream) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)


def decoded(path: Path) -> dict[str, tuple[str, float]]:
    """Codec and seconds, decoded to the end, of each kind of stream."""
    found = {}
    for kind in ("audio", "video"):
        with av.open(str(path)) as container:
            streams = [s for s in getattr(container.streams, kind) if not is_picture(s)]
            if not streams:
                continue
            ends = [
                frame.time + (frame.samples / frame.rate if kind == "audio" else 0)
                for frame in container.decode(streams[0])
            ]
            found[kind] = (streams[0].codec_context.name, max(ends))
    return found


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_whole_source_is_converted_in_every_shell(
    node: Callable[..., Node], clip: Clip, shell: list[str]
) -> None:
    if not (found := shutil.which(shell[0])):
        pytest.skip(f"{shell[0]} is not here")
    here = node(clip(".mp4"))
    batch_result = Node(here.folder, here.path, (found, *shell[1:])).run(seconds=2.0)
    assert (batch_result.status, batch_result.stderr) == (0, "")
    assert batch_result.seconds == pytest.approx(2, abs=0.1)


CODECS = {
    "mp3": {"audio": "mp3"},
    "mp3-320k": {"audio": "mp3"},
    "m4a": {"audio": "aac"},
    "opus": {"audio": "opus"},
    "flac": {"audio": "flac"},
    "wav": {"audio": "pcm_s16le"},
    "mp4-720p": {"audio": "aac", "video": "h264"},
    "webm": {"audio": "opus", "video": "vp9"},
}


@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_makes_what_it_says(node: Callable[..., Node], clip: Clip, name: str) -> None:
    preset = PRESETS[name]
    source = clip(".mkv", audio=2, video=3)
    output = f"output{preset.suffix}"
    seconds = expected_seconds(probe(str(source)), preset)
    batch_result = node(source).run(*preset.arguments, output=output, seconds=seconds)
    assert batch_result.status == 0, batch_result.stderr
    made = decoded(batch_result.folder / output)
    # PyAV names its decoders: libopus's is opus, libvpx's vp9, libdav1d's av1.
    assert {kind: re.sub("^lib|float$", "", codec) for kind, (codec, _) in made.items()} == {
        **CODECS[name],
        **({"video": "vpx-vp9"} if "video" in made and made["video"][0] == "libvpx-vp9" else {}),
    }
    assert made["audio"][1] == pytest.approx(2, abs=0.1)
    assert "video" not in made or made["video"][1] == pytest.approx(2.9, abs=0.01)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((160, 90), (160, 90)), ((1920, 1080), (1280, 720)), ((402, 750), (386, 720))],
)
def test_a_picture_keeps_its_shape_and_is_never_enlarged(
    node: Callable[..., Node], clip: Clip, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    source = clip(".mp4", audio=0, video=1, size=size)
    batch_result = node(source).run(*PRESETS["mp4-720p"].arguments, output="output.mp4", seconds=1)
    assert batch_result.status == 0, batch_result.stderr
    with av.open(str(batch_result.folder / "output.mp4")) as made:
        video = made.streams.video[0]
        assert (video.width, video.height, video.pix_fmt) == (*expected, "yuv420p")
        assert not made.streams.audio


def test_a_films_surround_sound_fits_into_opus(node: Callable[..., Node], clip: Clip) -> None:
    source = clip(".mp4", layout="5.1(side)")
    batch_result = node(source).run(*PRESETS["opus"].arguments, output="output.opus", seconds=2)
    assert batch_result.status == 0, batch_result.stderr
    with av.open(str(batch_result.folder / "output.opus")) as made:
        assert made.streams.audio[0].layout.name == "5.1"


TAGS = {
    "title": "Day “1”",
    "artist": "Ann & Bob",
    "album": "Talks",
    "track": "3/12",
    "date": "2026-05-04",
    "comment": "Said once",
}
WITHOUT_CHAPTERS = {"flac", "wav"}
SOUND = ("mp3", "m4a", "flac", "opus", "wav")


def described(path: Path) -> tuple[dict[str, str], list[str], bytes]:
    """Tags (a few formats write their names in capitals), chapters' titles, the cover's bytes."""
    with av.open(str(path)) as container:
        tags = {**container.metadata, **container.streams.audio[0].metadata}
        titles = [chapter["metadata"]["title"] for chapter in container.chapters()]
        pictures = filter(is_picture, container.streams.video)
        first = [bytes(packet) for packet in islice(container.demux(), len(list(pictures)))]
    return {key.lower(): value for key, value in tags.items()}, titles, b"".join(first)


@pytest.mark.parametrize(
    ("suffix", "name"),
    [(suffix, name) for suffix in ("mp3", "flac", "ogg") for name in SOUND]
    + [(suffix, name) for suffix in ("mp4", "mkv") for name in (*SOUND, "webm", "mp4-720p")],
)
def test_tags_chapters_and_the_cover_are_kept_where_the_format_holds_them(
    node: Callable[..., Node], clip: Clip, suffix: str, name: str
) -> None:
    chapters = () if suffix == "flac" else ("One", "Two", "Three", "Four")
    cover_codec = "" if suffix == "ogg" else "png"
    source = clip(f".{suffix}", cover=cover_codec, tags=tuple(TAGS.items()), chapters=chapters)
    media, preset = probe(str(source)), PRESETS[name]
    output = f"output{preset.suffix}"
    arguments = (*preset.arguments, *source_arguments(media, preset))
    seconds = expected_seconds(media, preset)
    batch_result = node(source).run(*arguments, output=output, seconds=seconds)
    assert batch_result.status == 0, batch_result.stderr
    tags, titles, cover = described(batch_result.folder / output)
    assert {key: tags.get(key) for key in TAGS} == TAGS
    assert titles == ([] if name in WITHOUT_CHAPTERS else list(chapters))
    assert cover == (described(source)[2] if preset.holds_cover else b"")
    assert bool(cover) is (preset.holds_cover and suffix != "ogg")
    assert "major_brand" not in tags or name in ("m4a", "mp4-720p")
    assert decoded(batch_result.folder / output)["audio"][1] == pytest.approx(2, abs=0.1)


def test_a_cut_source_with_a_cover_fails_as_one_without(
    node: Callable[..., Node], clip: Clip
) -> None:
    source = clip(".m4a", audio=10, cover="png", muxer=(("movflags", "+faststart"),))
    media = probe(str(source))
    arguments = source_arguments(media, PRESETS["mp3"])
    assert "-disposition:v:0" in arguments
    batch_result = node(half(source)).run(
        *PRESETS["mp3"].arguments, *arguments, seconds=expected_seconds(media, PRESETS["mp3"])
    )
    assert batch_result.status == EX_DATAERR
    assert "the source is cut short" in batch_result.last_line


def test_a_film_is_never_taken_for_a_cover(node: Callable[..., Node], clip: Clip) -> None:
    source = clip(".mp4")
    media = replace(probe(str(source)), cover=0)
    arguments = source_arguments(media, PRESETS["mp3"])
    batch_result = node(source).run(*PRESETS["mp3"].arguments, *arguments, seconds=2)
    assert batch_result.status == 0, batch_result.stderr
    with av.open(str(batch_result.folder / "output.mp3")) as made:
        assert [stream.type for stream in made.streams] == ["audio"]


@pytest.mark.parametrize(
    ("suffix", "sample_format", "expected"),
    [(".m4a", "", "s16"), (".flac", "s16", "s16"), (".flac", "s32", "s32")],
)
def test_flac_has_as_many_bits_as_the_source(
    node: Callable[..., Node], clip: Clip, suffix: str, sample_format: str, expected: str
) -> None:
    source, preset = clip(suffix, sample_format=sample_format), PRESETS["flac"]
    arguments = source_arguments(probe(str(source)), preset)
    batch_result = node(source).run(*preset.arguments, *arguments, output="output.flac", seconds=2)
    assert batch_result.status == 0, batch_result.stderr
    with av.open(str(batch_result.folder / "output.flac")) as made:
        assert made.streams.audio[0].codec_context.format.name == expected


def test_options_of_the_users_reach_ffmpeg(node: Callable[..., Node], clip: Clip) -> None:
    options = ["-b:a", "256k", "-ar", "44100", "-ac", "2", "-af", "loudnorm=I=-16,highpass=80"]
    batch_result = node(clip(".mp4")).run(*preset_for("mp3", options).arguments, seconds=2)
    assert batch_result.status == 0, batch_result.stderr
    with av.open(str(batch_result.folder / "output.mp3")) as made:
        audio = made.streams.audio[0]
        assert (audio.rate, audio.layout.name) == (44100, "stereo")
        assert audio.bit_rate == 256_000


def test_every_allowed_filter_is_one_that_ffmpeg_has(node: Callable[..., Node], clip: Clip) -> None:
    sound = "acompressor,aresample,bass,dynaudnorm,equalizer=1000,highpass,loudnorm,lowpass,treble"
    picture = "bwdif,crop,eq,fps,hflip,hqdn3d,pad,scale,setsar,transpose,unsharp,vflip,yadif"
    preset = preset_for("mp4-720p", ["-af", f"{sound},volume=1", "-vf", picture])
    batch_result = node(clip(".mp4")).run(*preset.arguments, output="output.mp4", seconds=2)
    assert batch_result.status == 0, batch_result.stderr


@pytest.mark.parametrize(("name", "rate"), [("mp3", 192_000), ("mp3-320k", 320_000)])
def test_the_presets_own_arguments_reach_ffmpeg(
    node: Callable[..., Node], clip: Clip, name: str, rate: int
) -> None:
    batch_result = node(clip(".wav")).run(*PRESETS[name].arguments, seconds=2)
    with av.open(str(batch_result.folder / "output.mp3")) as made:
        assert made.streams.audio[0].bit_rate == rate


def test_sound_shorter_than_its_film_is_whole(node: Callable[..., Node], clip: Clip) -> None:
    source = clip(".mp4", audio=7, video=10)
    batch_result = node(source).run(seconds=mp3_seconds(source))
    assert batch_result.status == 0, batch_result.stderr
    assert batch_result.seconds == pytest.approx(7, abs=0.1)


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
def test_what_the_probe_expects_is_what_ffmpeg_writes(
    node: Callable[..., Node], clip: Clip, preset: str, shape: dict[str, object]
) -> None:
    """Late sound, tags, formats that count otherwise, films of a slow or a changing rate."""
    source, chosen = clip(**shape), PRESETS[preset]
    seconds = expected_seconds(probe(str(source)), chosen)
    assert seconds
    output = f"output{chosen.suffix}"
    batch_result = node(source).run(*chosen.arguments, output=output, seconds=seconds)
    assert batch_result.status == 0, batch_result.stderr
    assert batch_result.seconds == pytest.approx(seconds, abs=0.5)


def test_a_source_cut_in_the_middle_fails_and_says_how_much_there_was(
    node: Callable[..., Node], clip: Clip
) -> None:
    source = clip(".mp4", audio=7, video=10, muxer=(("movflags", "+faststart"),))
    here = node(half(source))
    expected = mp3_seconds(here.folder / "input")
    assert expected == pytest.approx(7)  # it declares its full length
    batch_result = here.run(seconds=expected)
    assert batch_result.status == EX_DATAERR
    assert 2 < batch_result.seconds < 5
    assert batch_result.last_line == (
        f"runner: {batch_result.seconds:.3f}"[:-1]
        + " s were converted of 7.00 s: the source is cut short"
    )


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
def test_a_cut_source_fails_whatever_it_says_of_its_length(
    node: Callable[..., Node], clip: Clip, suffix: str, shape: dict[str, object]
) -> None:
    source = clip(suffix, audio=7, video=10, **shape)
    whole = node(source).run(seconds=mp3_seconds(source))
    assert whole.status == 0, whole.stderr
    assert whole.seconds == pytest.approx(7, abs=0.3)
    cut = node(half(source))
    batch_result = cut.run(seconds=mp3_seconds(cut.folder / "input"))
    assert batch_result.status == EX_DATAERR, batch_result.stderr
    assert "the source is cut short" in batch_result.last_line
    assert batch_result.seconds < 5.5


def test_an_old_mp3_with_tags_that_ffmpeg_cannot_decode_is_whole(
    node: Callable[..., Node], clip: Clip
) -> None:
    source = clip(".mp3", audio=7, muxer=(("write_xing", "0"),))
    lyrics = b"LYRICSBEGININD0000200" + b"x" * 300 + b"000321LYRICS200"
    batch_result = node(source.read_bytes() + lyrics + b"TAG" + bytes(125)).run()
    assert batch_result.status == 0, batch_result.stderr
    assert batch_result.seconds == pytest.approx(7, abs=0.1)


def test_a_source_that_cannot_be_decoded_fails(node: Callable[..., Node], clip: Clip) -> None:
    whole = bytearray(clip(".mkv", seekable=False, audio=7, video=0).read_bytes())
    for at in range(3000, len(whole) - 3000, 40):
        whole[at] ^= 0xFF
    batch_result = node(bytes(whole)).run()
    assert batch_result.status != 0


def test_a_source_much_longer_than_it_says_fails(node: Callable[..., Node], clip: Clip) -> None:
    batch_result = node(clip(".mp4", audio=7, video=10)).run(seconds=4.9)
    assert batch_result.status == EX_DATAERR
    assert batch_result.last_line.endswith(
        "s were converted of 4.90 s: the source is longer than it says"
    )


@pytest.mark.parametrize(
    ("seconds", "status"),
    [
        ("2.4", 0),
        ("2.49", 0),
        ("2.51", EX_DATAERR),
        ("2", 0),
        ("2.000000001", 0),
        (".9", 0),
        ("0.08", 0),
        ("000000008.09", EX_DATAERR),
        ("359999.5", EX_DATAERR),
    ],
)
def test_the_tolerance_is_half_a_second_and_decimals_are_read_as_such(
    node: Callable[..., Node], clip: Clip, seconds: str, status: int
) -> None:
    assert (
        node(clip(".wav")).run(*PRESETS["wav"].arguments, output="o.wav", seconds=seconds).status
        == status
    )


@pytest.mark.parametrize("seconds", ["2,5", "1e3", "-1", "1.2.3", ".", "$(touch pwned)", "2;ls"])
def test_a_length_that_is_no_decimal_is_refused(
    node: Callable[..., Node], clip: Clip, seconds: str
) -> None:
    batch_result = node(clip(".wav")).run(seconds=seconds)
    assert batch_result.status == 64
    assert batch_result.last_line == f"runner: SOURCE_SECONDS is '{seconds}', not decimal seconds"
    assert not (batch_result.folder / "pwned").exists()


def test_values_are_never_parsed_by_the_shell(node: Callable[..., Node], clip: Clip) -> None:
    title = "title=$(touch pwned) `touch pwned` 'a' \"b\" * ; touch pwned \\"
    output = "$(touch pwned) 'o' *;.mp3"
    batch_result = node(clip(".wav")).run("-metadata", title, output=output, seconds=2)
    assert batch_result.status == 0, batch_result.stderr
    assert not (batch_result.folder / "pwned").exists()
    with av.open(str(batch_result.folder / output)) as made:
        assert f"title={made.metadata['title']}" == title


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("target", ["canary.ts", "file", "url"])
def test_a_playlist_opens_neither_files_nor_addresses(
    node: Callable[..., Node], canary: Canary, kind: str, target: str
) -> None:
    named = {"file": str(canary.file), "url": canary.url}.get(target, target)
    batch_result = node(PLAYLISTS[kind](named)).run()
    assert batch_result.status not in (0, EX_DATAERR)
    assert batch_result.last_line == f"runner: ffmpeg failed with status {batch_result.status}"
    assert not (batch_result.folder / "output.mp3").exists()
    assert not canary.was_asked()


def test_a_film_whose_data_lie_in_another_file_does_not_open_it(
    node: Callable[..., Node], clip: Clip, canary: Canary
) -> None:
    batch_result = node(with_external_data(clip(".mov").read_bytes(), str(canary.file))).run(
        seconds=2
    )
    assert batch_result.status != 0
    assert "Skipped opening external track" in batch_result.stderr


def test_without_its_allow_lists_ffmpeg_would_have_asked(
    tmp_path: Path, ffmpeg_folder: Path, canary: Canary
) -> None:
    """The canary sings: the tests above can fail."""
    (tmp_path / "input").write_bytes(PLAYLISTS["concat"](canary.url))
    command = [ffmpeg_folder / "ffmpeg", "-nostdin", "-safe", "0", "-protocol_whitelist"]
    asking = [*command, "file,http,tcp", "-i", tmp_path / "input", "-f", "null", "-"]
    with subprocess.Popen(asking, stderr=subprocess.DEVNULL) as process:
        canary.listener.settimeout(20)
        assert canary.was_asked()
        process.kill()


def test_a_pattern_of_names_is_a_name(node: Callable[..., Node], clip: Clip) -> None:
    here = node(clip(".wav"))
    (here.folder / "input").rename(here.folder / "input%d")
    assert here.run().status == 66


def test_a_vast_cover_is_not_decoded(node: Callable[..., Node], clip: Clip) -> None:
    batch_result = node(bombs.art(clip(".flac").read_bytes(), side=12_000)).run(seconds=2)
    assert batch_result.status == 0, batch_result.stderr
    assert "exceeds specified max pixel count" in batch_result.stderr


def test_a_small_file_that_decodes_into_hours_is_left_soon(
    node: Callable[..., Node], clip: Clip
) -> None:
    hours = bytearray(clip(".flac", audio=60).read_bytes())
    hours[21:26] = bytes([hours[21] & 0xF0]) + (2 * 48_000).to_bytes(4, "big")  # samples in all
    batch_result = node(bytes(hours)).run(seconds=2)
    assert batch_result.status == EX_DATAERR
    assert batch_result.last_line.endswith(
        "s were converted of 2.00 s: the source is longer than it says"
    )
    assert batch_result.seconds < 6


def test_an_output_that_would_fill_the_disk_fails_and_leaves_half_of_it(
    node: Callable[..., Node], clip: Clip, small_disk: Path
) -> None:
    here = node(clip(".flac", audio=60))
    shutil.copyfile(here.folder / "input", small_disk / "input")
    free_bytes = shutil.disk_usage(small_disk).free
    batch_result = Node(small_disk, here.path).run(*PRESETS["wav"].arguments, output="output.wav")
    assert batch_result.status != 0
    assert batch_result.last_line == "runner: the output takes more than half of the free disk"
    assert (small_disk / "output.wav").stat().st_size <= free_bytes / 2


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="only Linux tells its memory")
def test_ffmpeg_gets_most_of_the_memory_and_half_of_the_free_disk(
    clip: Clip, tmp_path: Path, tools_folder: Path
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ffmpeg").write_text("#!/bin/sh\nulimit -v\nulimit -f\nexit 1\n")
    (tmp_path / "bin" / "ffmpeg").chmod(0o755)
    shutil.copyfile(clip(".wav"), tmp_path / "input")
    done = subprocess.run(
        ["/bin/sh", str(RUNNER)],
        cwd=tmp_path,
        env=Node(tmp_path, f"{tmp_path}/bin:{tools_folder}").environment(
            ("-c:a", "flac"), output="o.flac", seconds=""
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    memory_kib, blocks = map(int, done.stdout.split())
    (total_kib,) = re.findall(r"MemTotal: +(\d+)", Path("/proc/meminfo").read_text())
    assert memory_kib == pytest.approx(int(total_kib) * 3 / 4, rel=0.01)
    assert blocks * 512 == pytest.approx(shutil.disk_usage(tmp_path).free / 2, rel=0.2)


def test_an_ffmpeg_that_fails_lends_its_status(node: Callable[..., Node], clip: Clip) -> None:
    batch_result = node(clip(".mp4", audio=0)).run()
    assert batch_result.status not in (0, EX_DATAERR)
    assert batch_result.last_line == f"runner: ffmpeg failed with status {batch_result.status}"
    assert not list(batch_result.folder.glob("seconds-*"))


def test_an_ffmpeg_that_writes_nothing_fails(node: Callable[..., Node], clip: Clip) -> None:
    batch_result = node(clip(".wav")).run(
        "-map", "0:a", "-t", "0", "-f", "s16le", output="output.raw"
    )
    assert batch_result.status == EX_DATAERR
    assert batch_result.last_line == "runner: ffmpeg wrote nothing into output.raw"
    assert batch_result.seconds == 0


def test_a_node_without_ffmpeg_is_told_so(clip: Clip, tmp_path: Path, tools_folder: Path) -> None:
    shutil.copyfile(clip(".wav"), tmp_path / "input")
    batch_result = Node(tmp_path, str(tools_folder)).run(seconds=2)
    assert batch_result.status == 127
    assert batch_result.stderr == f"runner: ffmpeg is not on this node's PATH ({tools_folder})\n"


@pytest.mark.parametrize("name", ["OUTPUT", "FFMPEG_ARGUMENTS"])
def test_a_missing_setting_is_told_and_nothing_is_made_without_it(
    node: Callable[..., Node], clip: Clip, name: str
) -> None:
    here = node(clip(".wav"))
    environment = here.environment(("-c:a", "flac"), output="output.flac", seconds="2")
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


def test_a_missing_input_is_told(node: Callable[..., Node], clip: Clip) -> None:
    here = node(clip(".wav"))
    (here.folder / "input").unlink()
    batch_result = here.run()
    assert batch_result.status == 66
    assert "there is no file named input" in batch_result.last_line


def test_a_second_run_in_the_same_folder_forgets_the_first(
    node: Callable[..., Node], clip: Clip
) -> None:
    assert node(clip(".mp4", audio=7, video=10)).run(seconds=7).status == 0
    batch_result = node(clip(".wav")).run(seconds=2)
    assert batch_result.status == 0
    assert batch_result.seconds == pytest.approx(2, abs=0.1)
    node(b"Dear diary")
    failed = Node(batch_result.folder, node(b"Dear diary").path).run()
    assert failed.status != 0
    assert {path.name for path in batch_result.folder.iterdir()} <= {
        "input",
        "messages",
        "progress",
    }


def test_it_ends_with_its_process_group(node: Callable[..., Node], clip: Clip) -> None:
    here = node(clip(".wav"))
    with (here.folder / "input").open("r+b") as source:  # hours of silence, as a sparse file
        source.write(b"RIFF" + (0xFFFFFFFF).to_bytes(4, "little"))
        source.seek(source.read().index(b"data") + 12)
        source.write((0xFFFFFFFF).to_bytes(4, "little"))
        source.truncate(3_000_000_000)
    runner = subprocess.Popen(
        ["/bin/sh", str(RUNNER)],
        cwd=here.folder,
        env=here.environment(PRESETS["mp3"].arguments, output="output.mp3", seconds=""),
        start_new_session=True,
    )
    deadline = time.monotonic() + 20
    while not (here.folder / "output.mp3").exists() and time.monotonic() < deadline:
        os.sched_yield()
    os.killpg(runner.pid, signal.SIGTERM)
    assert runner.wait(timeout=10) == -signal.SIGTERM
    while time.monotonic() < deadline:  # ffmpeg, an orphan now, says goodbye to its output
        try:
            os.killpg(runner.pid, 0)
        except ProcessLookupError:
            return
    pytest.fail("ffmpeg outlives the runner")


def test_the_runner_and_the_probe_allow_the_same() -> None:
    (pixels,) = re.findall(r"^MOST_PIXELS=(.*)$", RUNNER.read_text(), re.MULTILINE)
    (formats,) = re.findall(r"^FORMATS=(.*)$", RUNNER.read_text(), re.MULTILINE)
    assert int(pixels) == MOST_PIXELS
    assert tuple(formats.split(",")) == FORMATS


@pytest.mark.parametrize("name", ["bigbuckbunny.mp4", "LowPriVMs-4.mp4"])
def test_the_real_clips_are_converted(
    node: Callable[..., Node], real_clips: dict[str, Path], name: str
) -> None:
    seconds = mp3_seconds(real_clips[name])
    batch_result = node(real_clips[name]).run(seconds=seconds)
    assert batch_result.status == 0, batch_result.stderr
    assert decoded(batch_result.folder / "output.mp3")["audio"][1] == pytest.approx(
        seconds, abs=0.1
    )


def test_the_talk_cut_in_the_middle_is_told_from_the_whole(
    node: Callable[..., Node], real_clips: dict[str, Path]
) -> None:
    here = node(half(real_clips["LowPriVMs-4.mp4"]))
    batch_result = here.run(seconds=mp3_seconds(here.folder / "input"))
    assert batch_result.status == EX_DATAERR
    assert re.fullmatch(
        r"runner: \d\d\.\d\d s were converted of 120\.07 s: the source is cut short",
        batch_result.last_line,
    )
