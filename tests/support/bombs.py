"""Small files that decode into huge ones."""

import struct
import zlib
from collections.abc import Iterator

MEBIBYTE = 1 << 20


def huge_cover(flac: bytes, *, side: int) -> bytes:
    """Return a FLAC file whose cover is a black square with sides of `side` pixels."""
    end_of_info = 8 + int.from_bytes(flac[5:8], "big")
    return (
        flac[:4]
        + bytes([flac[4] & 0x7F])  # no longer the last block
        + flac[5:end_of_info]
        + _picture_block(_png(side), side=side)
        + flac[end_of_info:]
    )


def huge_index(mp4: bytes, *, free_bytes: int) -> bytes:
    """Return a QuickTime film with a compressed index that contains `free_bytes` of zeros."""
    at = mp4.index(b"moov") - 4
    size = int.from_bytes(mp4[at : at + 4], "big")
    index = struct.pack(">I", size + free_bytes) + mp4[at + 4 : at + size]
    packed = _compressed(index + struct.pack(">I4s", free_bytes, b"free"), free_bytes - 8)
    compressed = _atom(b"cmvd", struct.pack(">I", size + free_bytes) + packed)
    movie = _atom(b"moov", _atom(b"cmov", _atom(b"dcom", b"zlib") + compressed))
    return mp4[:at] + movie + mp4[at + size :]


def _atom(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _picture_block(png: bytes, *, side: int) -> bytes:
    kind = b"image/png"
    block = struct.pack(f">II{len(kind)}sI", 3, len(kind), kind, 0)
    block += struct.pack(">IIIII", side, side, 32, 0, len(png)) + png
    return struct.pack(">I", 6 << 24 | len(block)) + block


def _png(side: int) -> bytes:
    header = struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)
    pixels = _compressed(b"", (1 + 4 * side) * side)
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _compressed(begin: bytes, zeros: int) -> bytes:
    """Compress the given bytes and this number of zeros."""

    def chunks() -> Iterator[bytes]:
        packer = zlib.compressobj(1)
        yield packer.compress(begin)
        for at in range(0, zeros, MEBIBYTE):
            yield packer.compress(bytes(min(MEBIBYTE, zeros - at)))
        yield packer.flush()

    return b"".join(chunks())
