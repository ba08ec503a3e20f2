"""Checks for files that are cut short, in formats whose length FFmpeg derives from the size.

Pure functions of the last or first bytes of a file. They return False if they cannot decide, for
example because tags follow the last frame.
"""

from collections.abc import Callable, Iterator, Mapping

from tasks.media import asf_header

HEAD_BYTES = 1 << 16
TAIL_BYTES = 1 << 17  # two of Ogg's largest pages
_LEAST_FRAMES = 3  # in a row: fewer may be random bytes
_LEAST_HEADER_BYTES = 4
_OGG_HEADER_BYTES = 27
_LEAST_PLACEHOLDER = 0x7FFF_F000  # recorders write sizes of about 2 or 4 GiB
_MOST_JUNK_BYTES = 8192  # after the last unit: some writers leave a few
_LARGEST_JUNK_SHARE = 0.05  # of the file
_MPEG_KBITS = {  # by version (1; 2 and 2.5) and layer: ISO 11172-3, 13818-3
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG_HERTZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


def is_cut_at_end(format_name: str, tail: bytes) -> bool:
    """Return whether the last page, packet or frame is incomplete."""
    check = _CHECKS.get(format_name)
    return check is not None and check(tail)


def ends_in_junk(format_name: str, tail: bytes, *, size_bytes: int) -> bool:
    """Return whether the end of the file is lost: it is empty, or was overwritten.

    In these formats FFmpeg takes the length from the last unit that it finds.
    """
    find_end = _ENDS.get(format_name)
    if find_end is None:
        return False
    end = find_end(tail)
    junk_bytes = len(tail) - end
    return junk_bytes > _MOST_JUNK_BYTES and (
        end == 0 or junk_bytes > size_bytes * _LARGEST_JUNK_SHARE
    )


def declares_more_bytes(format_name: str, head: bytes, *, size_bytes: int) -> bool:
    """Return whether the header declares a larger size than the file has."""
    if format_name == "w64":  # Sony Wave64: a GUID, then the size of the file
        return int.from_bytes(head[16:24], "little") > size_bytes
    if format_name == "asf":
        return asf_header.last_packet(head)[1] > size_bytes
    return format_name == "caf" and _end_of_chunks(head) > size_bytes


def has_size_placeholder(head: bytes, *, size_bytes: int) -> bool:
    """Return whether a RIFF header has no size, because the recorder could not seek back to it."""
    declared = int.from_bytes(head[4:8], "little")
    return declared == 0 or (declared >= _LEAST_PLACEHOLDER and declared > size_bytes)


def _end_of_chunks(head: bytes) -> int:
    """Return where the last CAF chunk with a header in `head` ends.

    A recorder may write -1 as the size of a chunk: not known.
    """
    at = 8
    while at + 12 <= len(head):
        size = int.from_bytes(head[at + 4 : at + 12], "big", signed=True)
        if size < 0:
            break
        at += 12 + size
    return at


def _end_of_pages(tail: bytes) -> int:
    """Return where the last Ogg page ends (RFC 3533, section 6). 0: there is none."""
    at = tail.rfind(b"OggS")
    return 0 if at < 0 else _end_of_page(tail, at)


def _end_of_page(tail: bytes, at: int) -> int:
    end_of_table = at + _OGG_HEADER_BYTES + sum(tail[at + _OGG_HEADER_BYTES - 1 :][:1])
    return end_of_table + sum(tail[at + _OGG_HEADER_BYTES : end_of_table])


def _end_of_packets(tail: bytes) -> int:
    """Return where the last row of MPEG-TS packets ends. 0: there is none."""
    ends = [0]
    for size in (188, 192, 204):
        for at in range(size):
            row = tail[at::size].rfind(b"G" * (_LEAST_FRAMES + 1))  # G is 0x47
            ends.append(at + (row + _LEAST_FRAMES + 1) * size if row >= 0 else 0)
    return max(ends)


def _end_of_program(tail: bytes) -> int:
    """Return where the last MPEG-PS pack starts. 0: there is none."""
    return max(0, tail.rfind(b"\0\0\1\xba"))


def _ends_within_page(tail: bytes) -> bool:
    """Check Ogg pages (RFC 3533, section 6)."""
    return _end_of_pages(tail) > len(tail)


def _ends_within_packet(tail: bytes) -> bool:
    """Check MPEG-TS packets: 188 bytes, or 4 more for a time before or 16 more for parity after."""
    for size, before in ((188, 0), (192, 4), (204, 0)):
        for at in range(before, before + size):
            syncs = tail[at::size]
            if len(syncs) > _LEAST_FRAMES and syncs.count(0x47) == len(syncs):
                return (len(tail) - at + before) % size != 0
    return False


def _ends_within_program(tail: bytes) -> bool:
    """Check MPEG-PS packets: each declares its size, from the last pack on (ISO 13818-1, 2.5.3)."""
    at = tail.rfind(b"\0\0\1\xba")
    if at < 0:
        return False
    header = tail[at : at + 14].ljust(14)
    is_mpeg2 = header[4] & 0xC0 == 0x40  # noqa: PLR2004  bits
    at += 14 + (header[13] & 7) if is_mpeg2 else 12
    while tail[at : at + 3] == b"\0\0\1" and tail[at + 3 : at + 4] > b"\xb9":
        at += 6 + int.from_bytes(tail[at + 4 : at + 6].ljust(2, b"\xff"), "big")
    return at > len(tail)


def _ends_within_adts_frame(tail: bytes) -> bool:
    return _ends_within_frame(tail, _adts_bytes)


def _ends_within_mpeg_frame(tail: bytes) -> bool:
    return _ends_within_frame(tail, _mpeg_bytes)


def _ends_within_frame(tail: bytes, frame_bytes: Callable[[bytes], int]) -> bool:
    """Check a row of frames that each declare their size."""
    for begin in _possible_frames(tail):
        at, frames = begin, 0
        while at < len(tail) and (size := frame_bytes(tail[at : at + 8])):
            at, frames = at + size, frames + 1
        if frames > _LEAST_FRAMES:
            rest = tail[at:]
            return at > len(tail) or (len(rest) < _LEAST_HEADER_BYTES and rest[:1] == b"\xff")
    return False


def _possible_frames(tail: bytes) -> Iterator[int]:
    at = tail.find(0xFF)
    while at >= 0:
        yield at
        at = tail.find(0xFF, at + 1)


def _adts_bytes(header: bytes) -> int:
    """Return the size of an AAC frame. 0: not a frame header (ISO 14496-3, 1.A.2.2)."""
    if len(header) < 6 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0:  # noqa: PLR2004  bits
        return 0
    size = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return size if size > 7 else 0  # noqa: PLR2004  bytes of the header


def _mpeg_bytes(header: bytes) -> int:
    """Return the size of a frame of layer I, II or III. 0: not a header, or a free bit rate."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:  # noqa: PLR2004  bits
        return 0
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    rate, hertz, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer == 4 or rate in (0, 15) or hertz == 3:  # noqa: PLR2004  reserved
        return 0
    generation = 1 if version == 3 else 2  # noqa: PLR2004  bits
    bits = _MPEG_KBITS[generation, layer][rate - 1] * 1000
    per_second = _MPEG_HERTZ[version][hertz]
    if layer == 1:
        return (12 * bits // per_second + padding) * 4
    samples_of_8 = 72 if (generation, layer) == (2, 3) else 144
    return samples_of_8 * bits // per_second + padding


_CHECKS: Mapping[str, Callable[[bytes], bool]] = {
    "aac": _ends_within_adts_frame,
    "mp3": _ends_within_mpeg_frame,
    "mpeg": _ends_within_program,
    "mpegts": _ends_within_packet,
    "ogg": _ends_within_page,
}
_ENDS: Mapping[str, Callable[[bytes], int]] = {
    "mpeg": _end_of_program,
    "mpegts": _end_of_packets,
    "ogg": _end_of_pages,
}
CHECKED_FORMATS = frozenset(_CHECKS)
SIZED_FORMATS = frozenset({"asf", "caf", "w64"})
HEADED_FORMATS = frozenset({"asf", "avi"})  # a length in their header may be false
