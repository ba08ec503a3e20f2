from collections.abc import Callable
from pathlib import Path

import av
import pytest
from av.stream import Disposition

from tasks.media import cover_art
from tasks.media.probe import probe

Clip = Callable[..., Path]


@pytest.mark.parametrize("suffix", [".mp3", ".m4a", ".mp4", ".flac", ".mkv"])
def test_cover_art_is_found_among_the_streams(clip: Clip, suffix: str) -> None:
    path = clip(suffix, cover="png")
    index = probe(str(path)).cover
    assert index is not None
    with av.open(str(path)) as container:
        assert container.streams[index].codec_context.name == "png"


def test_the_front_cover_is_preferred(clip: Clip, tmp_path: Path) -> None:
    path = tmp_path / "two.mp3"
    with av.open(str(clip(".mp3", cover="png"))) as source, av.open(str(path), "w") as copy:
        sound = copy.add_stream_from_template(source.streams.audio[0])
        pictures = [copy.add_stream_from_template(source.streams.video[0]) for _ in range(2)]
        for picture, title in zip(pictures, ("Cover (back)", "Cover (front)"), strict=True):
            picture.metadata["comment"] = title
            picture.disposition = Disposition.attached_pic
        for packet in (p for p in source.demux() if p.size):
            for stream in pictures if packet.stream.type == "video" else [sound]:
                copied = av.Packet(bytes(packet))
                copied.stream, copied.time_base = stream, packet.time_base
                copied.pts, copied.dts = packet.pts, packet.dts or 0
                copy.mux(copied)
    cover = probe(str(path)).cover
    assert cover is not None
    with av.open(str(path)) as made:
        assert [s.metadata.get("comment") for s in made.streams.video] == [
            "Cover (back)",
            "Cover (front)",
        ]
        assert made.streams[cover].metadata["comment"] == "Cover (front)"


def test_a_video_stream_is_not_a_cover(clip: Clip) -> None:
    assert probe(str(clip(".mp4"))).cover is None
    assert probe(str(clip(".mp3"))).cover is None


def test_a_cover_that_is_too_large_or_has_another_codec_is_ignored(
    clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = probe(str(clip(".mp3", cover="bmp")))
    assert (other.cover, other.audio is None) == (None, False)
    monkeypatch.setattr(cover_art, "_LARGEST_BYTES", 40)
    assert probe(str(clip(".mp3", cover="png"))).cover is None
