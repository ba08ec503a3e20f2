"""Lengths in the header of an ASF file (WMA, WMV). Pure functions.

FFmpeg guesses the length if the file does not have the size that its header declares. A recorder
that writes to a pipe, or that loses power, never completes its header.
"""

from uuid import UUID

_FILE_PROPERTIES = UUID("8CABDCA1-A947-11CF-8EE4-00C00C205365").bytes_le
_FILE_PROPERTIES_BYTES = 104
_DATA_HEADER_BYTES = 50
_BROADCAST = 1  # a flag: the length and the number of packets are not valid
_TOLERANCE_SECONDS = 1  # the last packet may hold frames that start after its time
_FIELD_BYTES = (0, 1, 2, 4)  # by the two bits that describe a field of a packet


def last_packet(head: bytes) -> tuple[int, int]:
    """Return where the last data packet begins and ends in the file. (0, 0): not known."""
    properties = _file_properties(head)
    packets, packet_bytes = _number(properties, 56, 8), _number(properties, 92, 4)
    if not packets or not packet_bytes or _is_broadcast(properties):
        return 0, 0
    end = _number(head, 16, 8) + _DATA_HEADER_BYTES + packets * packet_bytes
    return end - packet_bytes, end


def declared_seconds(head: bytes, packet: bytes) -> float | None:
    """Return the length, or None if the header declares none, or one that cannot be true.

    `packet` is the last data packet. A length after its end cannot be true.
    """
    properties = _file_properties(head)
    seconds = _number(properties, 64, 8) / 10_000_000 - _number(properties, 80, 8) / 1000
    if _is_broadcast(properties) or seconds <= 0:
        return None
    end_seconds = _end_seconds(packet)
    is_after_end = end_seconds is not None and seconds > end_seconds + _TOLERANCE_SECONDS
    return None if is_after_end else seconds


def _file_properties(head: bytes) -> bytes:
    at = head.find(_FILE_PROPERTIES)
    return head[at : at + _FILE_PROPERTIES_BYTES] if at >= 0 else b""


def _is_broadcast(properties: bytes) -> bool:
    return bool(_number(properties, 88, 4) & _BROADCAST)


def _end_seconds(packet: bytes) -> float | None:
    """Return when the sound or film in a data packet ends (ASF specification, 5.2)."""
    at = 1 + (packet[0] & 0x0F) if packet[:1] >= b"\x80" else 0
    fields = _number(packet, at, 1)
    at += 2 + sum(_FIELD_BYTES[fields >> shift & 3] for shift in (1, 3, 5))
    if at + 6 > len(packet):
        return None
    return (_number(packet, at, 4) + _number(packet, at + 4, 2)) / 1000


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")
