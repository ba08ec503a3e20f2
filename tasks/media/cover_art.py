"""Cover art: pictures that are attached to a source."""

from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from tasks.media.streams import FRONT_COVER

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream as AvStream
    from av.video.stream import VideoStream

_CODECS = frozenset({"mjpeg", "png"})  # MP3, MP4 and FLAC can all hold these
_LARGEST_BYTES = 16_000_000  # the FLAC format allows 16 MiB


def find_cover(container: "InputContainer") -> int | None:
    """Return the index of the front cover, or of the first cover. None: outputs can keep none."""
    pictures = [stream for stream in container.streams.video if is_attached_picture(stream)]
    # FFmpeg returns the attached pictures before all other packets, one packet each.
    packets = islice(container.demux(), len(pictures)) if pictures else ()
    covers = [packet.stream for packet in packets if _is_cover(packet)]
    covers.sort(key=lambda stream: stream.metadata.get("comment") != FRONT_COVER)
    return covers[0].index if covers else None


def is_attached_picture(stream: "AvStream") -> bool:
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)


def _is_cover(packet: "Packet[Any]") -> bool:
    from av.stream import Disposition

    stream = cast("VideoStream", packet.stream)
    is_thumbnail = bool(stream.disposition & Disposition.timed_thumbnails)
    is_known = stream.codec_context is not None and stream.codec_context.name in _CODECS
    has_size = stream.width > 0  # 0 if the picture exceeds max_pixels
    is_storable = has_size and 0 < packet.size <= _LARGEST_BYTES
    return is_attached_picture(stream) and not is_thumbnail and is_known and is_storable
