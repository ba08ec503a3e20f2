from collections.abc import Callable
from pathlib import Path

import av
import pytest
from protected import (
    CENC,
    scrambled_ps,
    scrambled_ts,
    with_asf_encryption,
    with_content_encryption,
    with_sample_entry,
)

from tasks.media.presets import PRESETS
from tasks.media.probe import probe
from tasks.media.streams import encrypted_stream

Clip = Callable[..., Path]
SOUND = "its sound is encrypted (DRM): convert an unencrypted copy"
PICTURES = "its pictures are encrypted (DRM): convert an unencrypted copy"
BOTH = "its pictures and sound are encrypted (DRM): convert an unencrypted copy"


@pytest.fixture
def reasons(tmp_path: Path) -> Callable[[bytes], tuple[str | None, str | None]]:
    """A function that returns the reasons for the presets mp3 and webm."""

    def probe_bytes(content: bytes) -> tuple[str | None, str | None]:
        (tmp_path / "a").write_bytes(content)
        media = probe(str(tmp_path / "a"))
        return encrypted_stream(media, PRESETS["mp3"]), encrypted_stream(media, PRESETS["webm"])

    return probe_bytes


Reasons = Callable[[bytes], tuple[str | None, str | None]]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".wma", ".ts", ".mpg"])
def test_a_clear_source_is_not_encrypted(clip: Clip, reasons: Reasons, suffix: str) -> None:
    assert reasons(clip(suffix).read_bytes()) == (None, None)


@pytest.mark.parametrize("flags", ["+faststart", "+frag_keyframe+empty_moov"])
def test_common_encryption_in_mp4_is_a_reason(clip: Clip, reasons: Reasons, flags: str) -> None:
    film = clip(".mp4", muxer=(*CENC, ("movflags", flags)))
    assert reasons(film.read_bytes()) == (SOUND, BOTH)


@pytest.mark.parametrize("entry", [b"drms", b"enca", b"aavd"])
def test_a_protected_sample_entry_of_mp4_is_a_reason(
    clip: Clip, reasons: Reasons, entry: bytes
) -> None:
    song = with_sample_entry(clip(".m4a").read_bytes(), b"mp4a", entry)
    assert reasons(song)[0] == SOUND


def test_only_an_encrypted_track_that_is_converted_is_a_reason(
    clip: Clip, reasons: Reasons
) -> None:
    film = clip(".mkv").read_bytes()  # its pictures are track 1
    assert reasons(with_content_encryption(film, {1})) == (None, PICTURES)
    assert reasons(with_content_encryption(film, {2})) == (SOUND, SOUND)
    assert reasons(with_content_encryption(film, {1, 2})) == (SOUND, BOTH)


def test_an_encryption_object_of_asf_is_a_reason(clip: Clip, reasons: Reasons) -> None:
    assert reasons(with_asf_encryption(clip(".wma").read_bytes()))[0] == SOUND


def test_scrambled_streams_of_mpeg_ts_are_a_reason(clip: Clip, reasons: Reasons) -> None:
    film = clip(".ts", audio=8, video=8)
    with av.open(str(film)) as container:
        video, audio = container.streams.video[0].id, container.streams.audio[0].id
    content = film.read_bytes()
    assert reasons(scrambled_ts(content, {audio})) == (SOUND, SOUND)
    assert reasons(scrambled_ts(content, {video})) == (None, PICTURES)
    # A recorder may need a moment to decrypt.
    assert reasons(scrambled_ts(content, {audio, video}, share=0.2)) == (None, None)


def test_scrambled_streams_of_mpeg_ps_are_a_reason(clip: Clip, reasons: Reasons) -> None:
    film = clip(".vob").read_bytes()
    assert reasons(film) == (None, None)
    assert reasons(scrambled_ps(film, 0xC0)) == (SOUND, SOUND)
    assert reasons(scrambled_ps(film, 0xE0)) == (None, PICTURES)
