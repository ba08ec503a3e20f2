"""Detection of encrypted streams. FFmpeg may decode them to noise, without an error."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.stream import Stream as AvStream

SAMPLE_BYTES = 1 << 16  # at the beginning, and at the end
SAMPLED_FORMATS = frozenset({"asf", "matroska,webm", "mpeg", "mpegts"})
_MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
# Sample entries: Common Encryption, FairPlay, Audible.
_MP4_TAGS = frozenset({"enca", "encv", "drmi", "drms", "aavd"})
_MP4_PACKETS = 100  # FFmpeg has read them already, to find the codecs
_EBML_CLUSTER, _EBML_TRACK, _EBML_TRACK_TYPE, _EBML_ENCRYPTION = 0x1F43B675, 0xAE, 0x83, 0x5035
# Segment, Tracks, TrackEntry, ContentEncodings, ContentEncoding
_EBML_PARENTS = frozenset({0x18538067, 0x1654AE6B, _EBML_TRACK, 0x6D80, 0x6240})
_EBML_KINDS: Mapping[bytes, str] = {b"\1": "video", b"\2": "audio"}
# Content Encryption Object, Extended and Advanced Content Encryption Object
_ASF_OBJECTS = tuple(
    UUID(text).bytes_le
    for text in (
        "2211B3FB-BD23-11D2-B4B7-00A0C955FC6E",
        "298AE614-2622-4C17-B935-DAE07EE9289C",
        "43058533-6981-49E6-9B74-AD12CB86D58C",
    )
)
# The share of scrambled packets. A recorder may decrypt all but the first ones. On DVDs, only some
# packets are scrambled.
_TS_SHARE, _PS_SHARE = 0.9, 0.1
_LEAST_SYNCS = 4  # in a row: fewer may be random bytes


def encrypted_streams(container: "InputContainer", head: bytes, tail: bytes) -> frozenset[int]:
    """Return the indexes of the encrypted streams.

    `head` and `tail` are SAMPLE_BYTES of the file, in the formats of SAMPLED_FORMATS.
    """
    name, streams = container.format.name, (*container.streams.audio, *container.streams.video)
    if name == _MP4:
        return frozenset(_encrypted_in_mp4(container, streams))
    if name == "matroska,webm":
        return frozenset(_encrypted_in_matroska(container, head))
    if name == "mpegts":
        pids = scrambled_pids(head, tail)
        return frozenset(stream.index for stream in streams if stream.id in pids)
    kinds = {"audio", "video"} if name == "asf" and has_drm(head) else set()
    if name == "mpeg":
        kinds = scrambled_kinds(head + tail)
    return frozenset(stream.index for stream in streams if stream.type in kinds)


def _encrypted_in_mp4(
    container: "InputContainer", streams: tuple["AvStream", ...]
) -> Iterator[int]:
    unseen = {stream.index for stream in streams}
    for stream in streams:
        if stream.codec_context and stream.codec_context.codec_tag in _MP4_TAGS:
            yield stream.index
    for packet in islice(container.demux(), _MP4_PACKETS):
        if packet.has_sidedata("encryption_info"):
            yield packet.stream_index
        unseen.discard(packet.stream_index)
        if not unseen:
            return


def _encrypted_in_matroska(container: "InputContainer", head: bytes) -> Iterator[int]:
    kinds = encrypted_tracks(head)
    for kind in ("audio", "video"):
        tracks = [is_encrypted for found, is_encrypted in kinds if found == kind]
        streams = [stream for stream in container.streams if stream.type == kind]
        yield from (
            s.index for s, is_encrypted in zip(streams, tracks, strict=False) if is_encrypted
        )


def encrypted_tracks(head: bytes) -> list[tuple[str, bool]]:
    """Return the kind of each track of a Matroska file, and whether it is encrypted (RFC 9559)."""
    tracks: list[tuple[str, bool]] = []
    for number, content in _elements(head):
        if number == _EBML_TRACK:
            tracks.append(("", False))
        elif number == _EBML_TRACK_TYPE and tracks:
            tracks[-1] = (_EBML_KINDS.get(content, ""), tracks[-1][1])
        elif number == _EBML_ENCRYPTION and tracks:
            tracks[-1] = (tracks[-1][0], True)
    return tracks


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the elements before the first cluster, and those in them (RFC 8794)."""
    at = 0
    while at < len(data):
        width = 9 - data[at].bit_length()
        number, at = int.from_bytes(data[at : at + width], "big"), at + width
        if number == _EBML_CLUSTER or at >= len(data):
            return
        width = 9 - data[at].bit_length()
        size = int.from_bytes(data[at : at + width], "big") & ((1 << 7 * width) - 1)
        at += width
        yield number, data[at : at + size]
        if number not in _EBML_PARENTS:
            at += size


def has_drm(head: bytes) -> bool:
    """Return whether the header of an ASF file has an object about encryption."""
    header = head[: int.from_bytes(head[16:24], "little")]
    return any(guid in header for guid in _ASF_OBJECTS)


def scrambled_pids(*samples: bytes) -> frozenset[int]:
    """Return the PIDs of MPEG-TS whose packets are scrambled (ISO 13818-1, 2.4.3.2)."""
    headers = [header for sample in samples for header in _ts_headers(sample)]
    pids = [int.from_bytes(header[1:3], "big") & 0x1FFF for header in headers]
    scrambled = Counter(pid for pid, header in zip(pids, headers, strict=True) if header[3] & 0xC0)
    packets = Counter(pids)
    return frozenset(pid for pid in scrambled if scrambled[pid] > _TS_SHARE * packets[pid])


def _ts_headers(sample: bytes) -> Iterator[bytes]:
    for size in (188, 192, 204):
        for begin in range(size):
            if sample[begin::size].startswith(b"G" * _LEAST_SYNCS):
                headers = (sample[at : at + 4] for at in range(begin, len(sample) - 3, size))
                yield from (header for header in headers if header[:1] == b"G")
                return


def scrambled_kinds(sample: bytes) -> set[str]:
    """Return the kinds of MPEG-PS streams whose packets are scrambled (ISO 13818-1, 2.4.3.7)."""
    scrambled: Counter[str] = Counter()
    packets: Counter[str] = Counter()
    for part in sample.split(b"\0\0\1")[1:]:
        if len(part) > 3 and part[3] & 0xC0 == 0x80 and (kind := _pes_kind(part[0])):  # noqa: PLR2004  bits
            packets[kind] += 1
            scrambled[kind] += part[3] & 0x30 > 0
    return {kind for kind in packets if scrambled[kind] > _PS_SHARE * packets[kind]}


def _pes_kind(stream_id: int) -> str:
    if 0xE0 <= stream_id <= 0xEF:  # noqa: PLR2004  ISO 13818-1, table 2-22
        return "video"
    return "audio" if stream_id == 0xBD or 0xC0 <= stream_id <= 0xDF else ""  # noqa: PLR2004  as above
