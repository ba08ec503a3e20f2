"""Tags that are not UTF-8. The fixture `clip` writes their bytes; ID3v1 is made here."""

from collections.abc import Callable
from pathlib import Path


def encoded(text: str, encoding: str) -> str:
    """Return the text for a tag that has these bytes in the file."""
    return text.encode(encoding).decode(errors="surrogateescape")


def with_id3v1(clip: Callable[..., Path], title: bytes) -> bytes:
    """Return an MP3 file without other tags than ID3v1."""
    sound = clip(".mp3", muxer=(("id3v2_version", "0"),)).read_bytes()
    return sound + b"TAG" + title[:30].ljust(30, b"\0") + b"\0" * 94 + b"\xff"
