"""Media files with tags in any encoding: bytes of a clip are replaced, or appended."""

from collections.abc import Callable
from pathlib import Path

Clip = Callable[..., Path]


def with_title(clip: Clip, suffix: str, title: bytes, **shape: object) -> bytes:
    """Return a clip whose title consists of these bytes."""
    placeholder = "@" * len(title)
    return replaced(clip(suffix, tags=(("title", placeholder),), **shape), placeholder, title)


def replaced(path: Path, placeholder: str, text: bytes) -> bytes:
    """Return the file with a text of the same length in the place of a placeholder."""
    assert len(placeholder) == len(text)
    content = path.read_bytes()
    assert placeholder.encode() in content
    return content.replace(placeholder.encode(), text)


def with_id3v1(clip: Clip, title: bytes, artist: bytes = b"") -> bytes:
    """Return an MP3 file with nothing but an ID3v1 tag."""
    sound = clip(".mp3", muxer=(("id3v2_version", "0"),)).read_bytes()
    fields = [title[:30].ljust(30, b"\0"), artist[:30].ljust(30, b"\0"), b"\0" * 64]
    return sound + b"TAG" + b"".join(fields) + b"\xff"
