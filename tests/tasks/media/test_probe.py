import functools
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import create_server

import av
import pytest
from impostors import PLAYLISTS, Canary, with_external_data

from tasks.media import probe as probe_module
from tasks.media.input_limits import FORMATS
from tasks.media.presets import PRESETS
from tasks.media.probe import probe
from tasks.media.streams import NO_SOUND, UnreadableMedia, expected_seconds, missing_stream

Clip = Callable[..., Path]
MP3 = PRESETS["mp3"]


def reason(location: Path | str) -> str:
    with pytest.raises(UnreadableMedia) as refused:
        probe(str(location))
    return str(refused.value)


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
def test_only_lossless_audio_of_more_than_16_bits_has_24_bits(
    clip: Clip, suffix: str, shape: dict[str, object], expected: object
) -> None:
    audio = probe(str(clip(suffix, **shape))).audio
    assert audio
    assert audio.has_24_bits is expected


def test_an_unknown_audio_codec_is_a_reason(clip: Clip, tmp_path: Path) -> None:
    whole = clip(".mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(whole.replace(b"mp4a", b"zzzz").replace(b"esds", b"zzzz"))
    media = probe(str(tmp_path / "a.mp4"))
    assert missing_stream(media, MP3) == NO_SOUND
    assert missing_stream(media, PRESETS["webm"]) is None
    shutil.copy(clip(".m4a"), tmp_path / "a.m4a")
    sound = (tmp_path / "a.m4a").read_bytes().replace(b"mp4a", b"zzzz").replace(b"esds", b"zzzz")
    (tmp_path / "a.m4a").write_bytes(sound)
    assert reason(tmp_path / "a.m4a") == NO_SOUND


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
def test_a_file_that_is_not_media_is_refused_with_a_reason(
    tmp_path: Path, content: bytes, expected: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    assert reason(path) == expected
    assert capfd.readouterr() == ("", "")


def test_a_file_cut_before_its_index_is_refused(clip: Clip, tmp_path: Path) -> None:
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
def test_a_file_cut_inside_a_packet_is_refused_if_its_length_does_not_show_it(
    clip: Clip, tmp_path: Path, server: "_Server", suffix: str, shape: dict[str, object]
) -> None:
    whole = clip(suffix, **shape).read_bytes()
    assert probe(str(clip(suffix, **shape))).audio
    (tmp_path / "a").write_bytes(whole[: len(whole) * 2 // 3 + 1])
    for location in (tmp_path / "a", f"http://127.0.0.1:{server.server_port}/a?sig=canary"):
        assert reason(location) == "cut short: its end is missing"


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("suffix", [".mp4", ".m3u8"])
def test_a_playlist_is_refused_under_any_name_and_opens_nothing(
    tmp_path: Path, canary: Canary, kind: str, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    for named in ("canary.ts", str(canary.file), canary.url):
        path.write_bytes(PLAYLISTS[kind](named))
        assert reason(path) == "not a media file of a known format"
    assert not canary.was_asked()


def test_a_film_with_its_data_in_another_file_does_not_open_that_file(
    clip: Clip, tmp_path: Path, canary: Canary
) -> None:
    film = with_external_data(clip(".mov").read_bytes(), str(canary.file))
    (tmp_path / "a.mov").write_bytes(film)
    assert probe(str(tmp_path / "a.mov")).audio


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert reason(tmp_path / "a.mp4") == "file not found"
    assert reason(tmp_path) == "not a regular file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read every file")
def test_a_file_without_read_permission_is_refused(clip: Clip, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(clip(".mp4").read_bytes())
    (tmp_path / "a.mp4").chmod(0)
    assert reason(tmp_path / "a.mp4") == "cannot be read: Permission denied"


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
def test_a_file_name_is_never_read_as_a_protocol_or_an_option(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(clip(".mp4").read_bytes())
    assert probe(name).audio


def test_ffmpeg_knows_every_allowed_format_and_none_opens_other_files() -> None:
    names = {name for format_ in av.formats_available for name in format_.split(",")}
    assert set(FORMATS) <= names
    assert not set(FORMATS) & {"hls", "dash", "concat", "image2", "lavfi", "sdp", "rtsp", "tee"}


class _Server(ThreadingHTTPServer):
    """Serves a folder, with ranges as in Blob Storage, and counts the bytes that it sends."""

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
        """Log nothing."""

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            """The probe closes the connection when it has read enough."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[_Server]:
    handler = functools.partial(_Handler, directory=str(tmp_path))
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_url_is_probed_without_reading_the_whole_file(
    clip: Clip, tmp_path: Path, server: _Server
) -> None:
    """The index of the film is at the end, after 64 MB."""
    whole = clip(".mp4").read_bytes()
    at = whole.index(b"moov") - 4
    free = (64_000_000).to_bytes(4, "big") + b"free" + bytes(64_000_000 - 8)
    (tmp_path / "a b.mp4").write_bytes(whole[:at] + free + whole[at:])
    media = probe(f"http://127.0.0.1:{server.server_port}/a%20b.mp4?sig=canary")
    assert expected_seconds(media, MP3) == pytest.approx(2, abs=0.05)
    assert server.sent < 32_000_000  # this includes what the sockets buffer


def test_the_reason_for_a_url_does_not_contain_its_signature(
    clip: Clip, tmp_path: Path, server: _Server, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.mp4").write_text("Dear diary,\n" * 100)
    (tmp_path / "c.mp4").write_bytes(clip(".mp4").read_bytes()[:1000])
    address = f"http://127.0.0.1:{server.server_port}"
    assert reason(f"{address}/b.mp4?sig=canary") == "cannot be read: Server returned 404 Not Found"
    assert reason(f"{address}/a.mp4?sig=canary") == "not a media file of a known format"
    assert reason(f"{address}/c.mp4?sig=canary").startswith("cut short or damaged")
    assert capfd.readouterr() == ("", "")


def test_a_silent_server_ends_in_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "_CONNECT_SECONDS", 0.2)
    with create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert reason(f"http://127.0.0.1:{port}/a.mp4").startswith("cannot be read: ")


def test_a_playlist_behind_a_url_opens_nothing(
    tmp_path: Path, server: _Server, canary: Canary
) -> None:
    for named in (canary.url, str(canary.file)):
        (tmp_path / "a.mp4").write_bytes(PLAYLISTS["hls"](named))
        address = f"http://127.0.0.1:{server.server_port}/a.mp4"
        assert reason(address) == "not a media file of a known format"
    assert not canary.was_asked()
