"""Recipes for sources with encrypted streams. Only MP4 is really encrypted: marks are enough."""

from collections.abc import Container, Iterator
from uuid import UUID

# The muxer options of a clip of MP4 with Common Encryption.
CENC = (
    ("encryption_scheme", "cenc-aes-ctr"),
    ("encryption_key", "76a6c65c5ea762046bd749a2e632ccbb"),
    ("encryption_kid", "a7e61c373e219033c21091fa607bf3b8"),
)
_SEGMENT, _TRACKS, _TRACK_ENTRY, _TRACK_NUMBER = 0x18538067, 0x1654AE6B, 0xAE, 0xD7
_ASF_ENCRYPTION = UUID("2211B3FB-BD23-11D2-B4B7-00A0C955FC6E").bytes_le


def with_sample_entry(mp4: bytes, old: bytes, new: bytes) -> bytes:
    """Return the MP4 file with another kind of sample entry, such as `drms` of FairPlay."""
    at = mp4.index(old, mp4.index(b"stsd"))
    return mp4[:at] + new + mp4[at + 4 :]


def with_content_encryption(matroska: bytes, tracks: Container[int]) -> bytes:
    """Return the Matroska file with elements that say that tracks are encrypted."""
    return b"".join(_rewritten(matroska, tracks))


def _rewritten(data: bytes, tracks: Container[int]) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        number, at = _read_number(data, at)
        begin, at = at, at + 8 - data[at].bit_length() + 1
        width = at - begin
        size = int.from_bytes(data[begin:at], "big") & ((1 << 7 * width) - 1)
        content, at = data[at : at + size], at + size
        if number in (_SEGMENT, _TRACKS):
            content = b"".join(_rewritten(content, tracks))
        elif number == _TRACK_ENTRY and content[content.index(_TRACK_NUMBER) + 2] in tracks:
            content += _element(0x6D80, _element(0x6240, _element(0x5035, b"")))
        yield _element(number, content)


def _read_number(data: bytes, at: int) -> tuple[int, int]:
    end = at + 9 - data[at].bit_length()
    return int.from_bytes(data[at:end], "big"), end


def _element(number: int, content: bytes) -> bytes:
    name = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return name + (1 << 56 | len(content)).to_bytes(8, "big") + content


def with_asf_encryption(asf: bytes) -> bytes:
    """Return the ASF file with an object that says how to get its key."""
    added = _ASF_ENCRYPTION + (24).to_bytes(8, "little")
    size = int.from_bytes(asf[16:24], "little")
    objects = int.from_bytes(asf[24:28], "little")
    head = asf[:16] + (size + 24).to_bytes(8, "little") + (objects + 1).to_bytes(4, "little")
    return head + asf[28:size] + added + asf[size:]


def scrambled_ts(ts: bytes, pids: Container[int], *, share: float = 1) -> bytes:
    """Return the transport stream with the first packets of these PIDs marked as scrambled."""
    packets = [bytearray(ts[at : at + 188]) for at in range(0, len(ts), 188)]
    for packet in packets[: int(len(packets) * share)]:
        if int.from_bytes(packet[1:3], "big") & 0x1FFF in pids:
            packet[3] |= 0x80
    return b"".join(packets)


def scrambled_ps(mpeg: bytes, stream_id: int) -> bytes:
    """Return the program stream with the packets of a stream marked as scrambled, as on DVDs."""
    start, parts = b"\0\0\1" + bytes([stream_id]), []
    for part in mpeg.split(start):
        parts.append(part[:2] + bytes([part[2] | 0x10]) + part[3:] if parts else part)
    return start.join(parts)
