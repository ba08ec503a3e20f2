import functools
import os
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import create_server

import av
import pytest
from av.stream import Disposition
from impostors import PLAYLISTS, Canary, with_external_data

from tasks.media import probe as probe_module
from tasks.media.presets import PRESETS, preset_for
from tasks.media.probe import (
    FORMATS,
    Media,
    Stream,
    UnreadableMedia,
    expected_seconds,
    missing_stream,
    probe,
    source_arguments,
)

Clip = Callable[..., Path]
MP3, FLAC, WEBM = PRESETS["mp3"], PRESETS["flac"], PRESETS["webm"]


def reason(location: Path | str) -> str:
    with pytest.raises(UnreadableMedia) as refused:
        probe(str(location))
    return str(refused.value)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi", ".ts", ".webm"])
def test_each_stream_is_as_long_as_it_is(clip: Clip, suffix: str) -> None:
    media = probe(str(clip(suffix, audio=2, video=3)))
    assert media.audio
    assert media.video
    # The last packet of a transport stream is of unknown length; AVI counts a frame more.
    assert media.audio.seconds == pytest.approx(2, abs=0.3)
    assert media.video.seconds == pytest.approx(3, abs=0.11)
    assert expected_seconds(media, MP3) == pytest.approx(2, abs=0.3)
    assert expected_seconds(media, WEBM) == pytest.approx(3, abs=0.11)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".m4a", ".ogg"])
def test_sound_alone_is_as_long_as_it_is(clip: Clip, suffix: str) -> None:
    media = probe(str(clip(suffix, audio=2)))
    assert media.video is None
    assert expected_seconds(media, MP3) == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_silence_before_a_late_sound_counts(clip: Clip, suffix: str) -> None:
    media = probe(str(clip(suffix, audio_begins=2)))
    assert expected_seconds(media, MP3) == pytest.approx(4, abs=0.05)
    assert expected_seconds(media, WEBM) == pytest.approx(4, abs=0.05)


def test_in_a_transport_stream_it_counts_only_beside_the_pictures(clip: Clip) -> None:
    media = probe(str(clip(".ts", audio_begins=2)))
    assert expected_seconds(media, MP3) == pytest.approx(2, abs=0.3)
    assert expected_seconds(media, WEBM) == pytest.approx(4, abs=0.3)


def test_mkvmerges_tag_tells_a_length_where_ffmpegs_tells_an_end(
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
    # The copy begins with its only stream, and FFmpeg's tag of 4 s is taken for mkvmerge's.
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
def test_a_length_that_the_source_does_not_say_is_not_guessed(
    clip: Clip, suffix: str, shape: dict[str, object]
) -> None:
    media = probe(str(clip(suffix, **shape)))
    assert media.audio == Stream(None)
    assert expected_seconds(media, MP3) is None


def test_the_wholes_length_stands_in_where_every_stream_is_mapped(clip: Clip) -> None:
    assert expected_seconds(probe(str(clip(".flv"))), WEBM) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(
    ("media", "seconds"),
    [
        (Media(Stream(7), Stream(10), 10), 7),
        (Media(Stream(7), None, 7.1), 7),
        (Media(Stream(None), None, 7.1), 7.1),
        (Media(Stream(None), Stream(10), 10), None),
        (Media(Stream(None), None, None), None),
    ],
)
def test_the_mapped_stream_counts_and_not_the_longest(media: Media, seconds: float | None) -> None:
    assert expected_seconds(media, MP3) == seconds


@pytest.mark.parametrize("suffix", [".mp3", ".m4a"])
def test_cover_art_is_no_video(clip: Clip, suffix: str) -> None:
    media = probe(str(clip(suffix, cover="png")))
    assert missing_stream(media, WEBM) == "it has no video stream, which preset webm needs"
    assert missing_stream(media, MP3) is None


@pytest.mark.parametrize("suffix", [".mp3", ".m4a", ".mp4", ".flac", ".mkv"])
def test_a_cover_is_found_among_the_streams(clip: Clip, suffix: str) -> None:
    path = clip(suffix, cover="png")
    index = probe(str(path)).cover
    assert index is not None
    with av.open(str(path)) as container:
        assert container.streams[index].codec_context.name == "png"


def test_of_two_covers_the_front_is_taken(clip: Clip, tmp_path: Path) -> None:
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


def test_a_film_and_sound_alone_have_no_cover(clip: Clip) -> None:
    assert probe(str(clip(".mp4"))).cover is None
    assert probe(str(clip(".mp3"))).cover is None


def test_a_cover_that_is_too_large_or_of_an_odd_codec_is_left_out(
    clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = probe(str(clip(".mp3", cover="bmp")))
    assert (odd.cover, odd.audio is None) == (None, False)
    monkeypatch.setattr(probe_module, "_LARGEST_COVER_BYTES", 40)
    assert probe(str(clip(".mp3", cover="png"))).cover is None


@pytest.mark.parametrize(
    ("suffix", "shape", "expected"),
    [
        (".flac", {"sample_format": "s32"}, True),
        (".flac", {"sample_format": "s16"}, False),
        (".wav", {}, False),
        (".m4a", {}, False),
        (".mp3", {}, False),
        (".mp4", {"audio": 0}, False),
    ],
)
def test_sound_of_24_bits_is_told_from_what_is_decoded_to_more(
    clip: Clip, suffix: str, shape: dict[str, object], expected: object
) -> None:
    assert probe(str(clip(suffix, **shape))).has_24_bits is expected


def test_flac_gets_16_bits_where_the_source_or_the_user_has_no_more() -> None:
    s16 = ("-sample_fmt", "s16")
    assert source_arguments(Media(Stream(7), None, 7), FLAC) == s16
    assert source_arguments(Media(Stream(7), None, 7, has_24_bits=True), FLAC) == ()
    own = preset_for("flac", ["-sample_fmt", "s32"])
    assert source_arguments(Media(Stream(7), None, 7), own) == ()
    assert source_arguments(Media(Stream(7), None, 7), MP3) == ()


def test_sound_of_no_known_kind_is_told_so(clip: Clip, tmp_path: Path) -> None:
    whole = clip(".mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(whole.replace(b"mp4a", b"zzzz").replace(b"esds", b"zzzz"))
    assert reason(tmp_path / "a.mp4").startswith("its sound is of no known kind")


def test_a_film_without_sound_is_told_so(clip: Clip) -> None:
    media = probe(str(clip(".mp4", audio=0)))
    assert missing_stream(media, MP3) == "it has no audio stream, which preset mp3 needs"
    assert missing_stream(media, WEBM) is None
    assert expected_seconds(media, WEBM) == pytest.approx(2)


def test_the_real_clips_are_read(real_clips: dict[str, Path]) -> None:
    seconds = {name: expected_seconds(probe(str(path)), MP3) for name, path in real_clips.items()}
    assert seconds == {
        "bigbuckbunny.mp4": pytest.approx(5.31, abs=0.01),
        "LowPriVMs-4.mp4": pytest.approx(120.07, abs=0.01),
    }


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "the file is empty"),
        (b"Dear diary,\n" * 100, "not a media file of a known format"),
        (bytes(10_000), "not a media file of a known format"),
        (b"\x89PNG\r\n\x1a\n" + bytes(1000), "not a media file of a known format"),
        (b"RIFF\xff\xff\xff\xffWAVEfmt ", "not a media file of a known format"),
    ],
)
def test_what_is_no_media_is_refused_in_words(
    tmp_path: Path, content: bytes, expected: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    assert reason(path) == expected
    assert capfd.readouterr() == ("", "")


def test_a_file_cut_before_its_index_is_told_so(clip: Clip, tmp_path: Path) -> None:
    whole = clip(".mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(whole[: len(whole) // 2])
    assert reason(tmp_path / "a.mp4") == "cut short or damaged: its index (moov) is missing"


@pytest.mark.parametrize(
    ("suffix", "shape"),
    [
        (".aac", {}),
        (".caf", {}),
        (".mp3", {"muxer": (("write_xing", "0"),)}),
        (".mpg", {}),
        (".ogg", {}),
        (".ts", {}),
        (".w64", {}),
    ],
)
def test_a_file_cut_within_a_packet_is_told_so_where_its_length_does_not_tell(
    clip: Clip, tmp_path: Path, server: "_Server", suffix: str, shape: dict[str, object]
) -> None:
    whole = clip(suffix, **shape).read_bytes()
    assert probe(str(clip(suffix, **shape))).audio
    (tmp_path / "a").write_bytes(whole[: len(whole) * 2 // 3 + 1])
    for location in (tmp_path / "a", f"http://127.0.0.1:{server.server_port}/a?sig=canary"):
        assert reason(location) == "cut short: its end is missing"


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("suffix", [".mp4", ".m3u8"])
def test_a_playlist_is_refused_whatever_its_name_and_opens_nothing(
    tmp_path: Path, canary: Canary, kind: str, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    for named in ("canary.ts", str(canary.file), canary.url):
        path.write_bytes(PLAYLISTS[kind](named))
        assert reason(path) == "not a media file of a known format"
    assert not canary.was_asked()


def test_a_film_whose_data_lie_in_another_file_does_not_open_it(
    clip: Clip, tmp_path: Path, canary: Canary
) -> None:
    film = with_external_data(clip(".mov").read_bytes(), str(canary.file))
    (tmp_path / "a.mov").write_bytes(film)
    assert probe(str(tmp_path / "a.mov")).audio


def test_what_is_not_there_or_no_file_is_told_so(tmp_path: Path) -> None:
    assert reason(tmp_path / "a.mp4") == "there is no such file"
    assert reason(tmp_path) == "it is not a file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_told_so(clip: Clip, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(clip(".mp4").read_bytes())
    (tmp_path / "a.mp4").chmod(0)
    assert reason(tmp_path / "a.mp4") == "it cannot be read: Permission denied"


@pytest.mark.parametrize(
    "name",
    [
        "concat:a.mp4",
        "file:a.mp4",
        "-i.mp4",
        "a%2F b#?.mp4",
        "$(touch pwned).mp4",
        "ä\n😀.mp4",
        "\udcff.mp4",
    ],
)
def test_any_name_is_a_name_and_never_a_protocol(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(clip(".mp4").read_bytes())
    assert probe(name).audio


def test_every_allowed_format_is_one_that_ffmpeg_has() -> None:
    names = {name for format_ in av.formats_available for name in format_.split(",")}
    assert set(FORMATS) <= names
    assert not set(FORMATS) & {"hls", "dash", "concat", "image2", "lavfi", "sdp", "rtsp", "tee"}


class _Server(ThreadingHTTPServer):
    """Serves a folder, with ranges as Blob Storage has them, and counts the bytes."""

    sent = 0


class _Handler(SimpleHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return self.send_error(404)
        content = path.read_bytes()
        begin = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        for at in range(begin, len(content), 4096):
            self.server.sent += self.wfile.write(content[at : at + 4096])
        return None

    def log_message(self, *_: object) -> None:
        """Tests are quiet."""

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            """The probe has read enough."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[_Server]:
    handler = functools.partial(_Handler, directory=str(tmp_path))
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_url_is_probed_without_reading_the_whole(
    clip: Clip, tmp_path: Path, server: _Server
) -> None:
    """A film whose index comes last, after 64 MB."""
    whole = clip(".mp4").read_bytes()
    at = whole.index(b"moov") - 4
    free = (64_000_000).to_bytes(4, "big") + b"free" + bytes(64_000_000 - 8)
    (tmp_path / "a b.mp4").write_bytes(whole[:at] + free + whole[at:])
    media = probe(f"http://127.0.0.1:{server.server_port}/a%20b.mp4?sig=canary")
    assert expected_seconds(media, MP3) == pytest.approx(2, abs=0.05)
    assert server.sent < 32_000_000  # what the sockets buffer counts, too


def test_a_url_that_is_refused_is_told_without_its_signature(
    clip: Clip, tmp_path: Path, server: _Server, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.mp4").write_text("Dear diary,\n" * 100)
    (tmp_path / "c.mp4").write_bytes(clip(".mp4").read_bytes()[:1000])
    address = f"http://127.0.0.1:{server.server_port}"
    assert (
        reason(f"{address}/b.mp4?sig=canary") == "it cannot be read: Server returned 404 Not Found"
    )
    assert reason(f"{address}/a.mp4?sig=canary") == "not a media file of a known format"
    assert reason(f"{address}/c.mp4?sig=canary").startswith("cut short or damaged")
    assert capfd.readouterr() == ("", "")


def test_a_server_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "_CONNECT_SECONDS", 0.2)
    with create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert reason(f"http://127.0.0.1:{port}/a.mp4").startswith("it cannot be read: ")


def test_a_url_cannot_make_it_read_another(tmp_path: Path, server: _Server, canary: Canary) -> None:
    for named in (canary.url, str(canary.file)):
        (tmp_path / "a.mp4").write_bytes(PLAYLISTS["hls"](named))
        address = f"http://127.0.0.1:{server.server_port}/a.mp4"
        assert reason(address) == "not a media file of a known format"
    assert not canary.was_asked()
