from collections.abc import Callable
from pathlib import Path

import av
import pytest
from damage import with_pre_skip

from tasks.media.presets import PRESETS
from tasks.media.probe import probe
from tasks.media.streams import expected_seconds

Clip = Callable[..., Path]
MP3, WEBM = PRESETS["mp3"], PRESETS["webm"]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi", ".ts", ".webm"])
def test_each_stream_has_its_own_length(clip: Clip, suffix: str) -> None:
    media = probe(str(clip(suffix, audio=2, video=3)))
    assert media.audio
    assert media.video
    # The last packet of a transport stream has no known length. AVI counts one frame more.
    assert media.audio.seconds == pytest.approx(2, abs=0.3)
    assert media.video.seconds == pytest.approx(3, abs=0.11)
    assert expected_seconds(media, MP3) == pytest.approx(2, abs=0.3)
    assert expected_seconds(media, WEBM) == pytest.approx(3, abs=0.11)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".m4a", ".ogg"])
def test_an_audio_file_has_the_length_of_its_audio(clip: Clip, suffix: str) -> None:
    media = probe(str(clip(suffix, audio=2)))
    assert media.video is None
    assert expected_seconds(media, MP3) == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_silence_before_late_audio_counts(clip: Clip, suffix: str) -> None:
    media = probe(str(clip(suffix, audio_begins=2)))
    assert expected_seconds(media, MP3) == pytest.approx(4, abs=0.3)
    assert expected_seconds(media, WEBM) == pytest.approx(4, abs=0.3)


def test_the_duration_tag_is_a_length_from_mkvmerge_and_an_end_from_ffmpeg(
    clip: Clip, tmp_path: Path
) -> None:
    tagged = tmp_path / "tagged.mkv"
    with av.open(str(clip(".mkv", audio_begins=2))) as source, av.open(str(tagged), "w") as copy:
        sound = copy.add_stream_from_template(source.streams.audio[0])
        sound.metadata["_STATISTICS_WRITING_APP"] = "mkvmerge"
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = sound
                copy.mux(packet)
    # The copy keeps FFmpeg's tag of 4 s, which now counts as mkvmerge's.
    assert expected_seconds(probe(str(tagged)), MP3) == pytest.approx(4, abs=0.05)


@pytest.mark.parametrize(
    ("suffix", "shape"),
    [
        (".aac", {}),
        (".mp3", {"muxer": (("write_xing", "0"),)}),
        (".mkv", {"seekable": False}),
        (".webm", {"seekable": False}),
        (".flv", {"audio": 2, "video": 3}),
    ],
)
def test_a_length_that_the_source_does_not_declare_is_not_guessed(
    clip: Clip, suffix: str, shape: dict[str, object]
) -> None:
    media = probe(str(clip(suffix, **shape)))
    assert media.audio
    assert media.audio.seconds is None
    assert expected_seconds(media, MP3) is None


def test_the_length_of_the_whole_source_is_used_if_every_stream_is_mapped(clip: Clip) -> None:
    assert expected_seconds(probe(str(clip(".flv"))), WEBM) == pytest.approx(2, abs=0.1)


def test_the_lengths_of_the_real_clips_are_read(real_clips: dict[str, Path]) -> None:
    seconds = {name: expected_seconds(probe(str(path)), MP3) for name, path in real_clips.items()}
    assert seconds == {
        "bigbuckbunny.mp4": pytest.approx(5.31, abs=0.01),
        "LowPriVMs-4.mp4": pytest.approx(120.07, abs=0.01),
    }


def test_what_decoders_of_opus_skip_at_the_start_is_not_part_of_its_length(
    clip: Clip, tmp_path: Path
) -> None:
    path = tmp_path / "a.opus"
    path.write_bytes(with_pre_skip(clip(".ogg", audio=4).read_bytes(), 48_000))
    assert expected_seconds(probe(str(path)), MP3) == pytest.approx(3, abs=0.05)
