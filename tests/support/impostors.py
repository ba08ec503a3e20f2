"""Files that look like media and refer to other files and addresses, which nothing may open."""

import os
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Canary:
    """A file and an address that nothing may open.

    The file is a FIFO without a writer, so a process that opens it blocks.
    """

    file: Path
    listener: socket.socket

    @property
    def url(self) -> str:
        host, port = self.listener.getsockname()
        return f"http://{host}:{port}/canary.ts"

    def was_asked(self) -> bool:
        """Return whether a client has connected to the address."""
        try:
            self.listener.accept()[0].close()
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Canary]:
    """Create a canary whose file is in the test's folder."""
    os.mkfifo(tmp_path / "canary.ts")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        yield Canary(tmp_path / "canary.ts", listener)


def _hls(target: str) -> bytes:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n".encode()


def _hls_key(target: str) -> bytes:
    key = f'#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXT-X-KEY:METHOD=AES-128,URI="{target}"\n'
    return key.encode() + b"#EXTINF:10,\ninput\n#EXT-X-ENDLIST\n"


def _dash(target: str) -> bytes:
    return (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"'
        ' mediaPresentationDuration="PT10S"><Period><AdaptationSet mimeType="audio/mp4">'
        f'<Representation id="1" bandwidth="1"><BaseURL>{target}</BaseURL>'
        '<SegmentList><SegmentURL media="a.m4s"/></SegmentList>'
        "</Representation></AdaptationSet></Period></MPD>"
    ).encode()


def _sdp(target: str) -> bytes:
    del target  # SDP has its own way to give an address
    return b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 4 RTP/AVP 0\n"


PLAYLISTS: dict[str, Callable[[str], bytes]] = {
    "hls": _hls,
    "hls key": _hls_key,
    "concat": lambda target: f"ffconcat version 1.0\nfile '{target}'\n".encode(),
    "dash": _dash,
    "sdp": _sdp,
    "imf": lambda target: f'<?xml version="1.0"?><CompositionPlaylist>{target}</…>'.encode(),
    "rtsp redirect": lambda target: f"RTSPtextRTSP://{target}\n".encode(),
    "asf redirect": lambda target: f"[Reference]\r\nRef1={target}\r\n".encode(),
    "vobsub": lambda target: f"# VobSub index file, v7\nid: en, index: 0\n{target}".encode(),
    "mpsub": lambda target: f"FILE={target}\nFORMAT=TIME\n".encode(),
    "cue": lambda target: f'FILE "{target}" WAVE\n  TRACK 01 AUDIO\n'.encode(),
    "svg": lambda target: f'<svg><image href="{target}"/></svg>'.encode(),
}


def with_external_data(mov: bytes, target: str) -> bytes:
    """Return the QuickTime film with tracks that refer to another file for their data."""
    size = len(mov)
    at = mov.index(b"mdat") - 4
    assert mov.index(b"moov") > at, "`moov` must follow `mdat`, whose offsets stay valid"
    begin = mov.index(b"dref") - 4
    while begin > 0:
        length = int.from_bytes(mov[begin : begin + 4], "big")
        reference = _alias(target)
        mov = mov[:begin] + reference + mov[begin + length :]
        for parent in _parents(mov, begin):
            grown = int.from_bytes(mov[parent : parent + 4], "big") + len(reference) - length
            mov = mov[:parent] + struct.pack(">I", grown) + mov[parent + 4 :]
        begin = mov.find(b"dref", begin + len(reference)) - 4
    assert len(mov) > size
    return mov


def _parents(mov: bytes, begin: int) -> Iterator[int]:
    """Yield the offsets of the atoms that contain this one."""
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        yield mov.rindex(kind, 0, begin) - 4


def _alias(target: str) -> bytes:
    path = target.encode()
    record = bytes(10) + b"\x01v".ljust(28, b"\0") + bytes(12) + b"\x01f".ljust(64, b"\0")
    record += bytes(16) + struct.pack(">hh", 1, 1) + bytes(16)
    record += struct.pack(">HH", 2, len(path)) + path + bytes(len(path) % 2)
    record += struct.pack(">HH", 0xFFFF, 0)
    entry = struct.pack(">I4sI", 12 + len(record), b"alis", 0) + record
    return struct.pack(">I4sII", 16 + len(entry), b"dref", 0, 1) + entry
