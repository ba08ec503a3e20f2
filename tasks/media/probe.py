"""Looks into media without converting it: which streams there are, and how long they last."""

from dataclasses import dataclass, replace
from errno import ENOMEM
from http.client import HTTPException
from itertools import islice
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any, cast

from tasks.azure.transport import trusted_file
from tasks.media.presets import Preset, StreamKind
from tasks.media.truncation import (
    CHECKED_FORMATS,
    HEAD_BYTES,
    SIZED_FORMATS,
    TAIL_BYTES,
    ends_midway,
    lacks_bytes,
)

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream as AvStream
    from av.video.stream import VideoStream

# The container formats that may be opened, here and on the nodes (the same list is in runner.sh).
# No playlist (hls, dash, concat) is among them: they open other files.
FORMATS = (
    *("aac", "ac3", "aiff", "amr", "ape", "asf", "au", "avi", "caf", "dts", "eac3", "flac", "flv"),
    *("matroska", "mov", "mp3", "mpeg", "mpegts", "mxf", "ogg", "tta", "w64", "wav", "wv"),
)
# Bare streams say nowhere how long they are: FFmpeg divides their size by their bit rate.
_BARE_FORMATS = frozenset({"aac", "ac3", "amr", "dts", "eac3"})
# Their time stamps may jump, and ffmpeg moves the streams that it maps to zero.
_REBASED_FORMATS = frozenset({"mpeg", "mpegts"})
# What is more was made to fill memories and disks, or is damaged (the same number is in runner.sh).
MOST_PIXELS = 1 << 27  # of a picture: 16K
MOST_SECONDS = 7 * 24 * 60 * 60
_CONNECT_SECONDS = 10
_READ_SECONDS = 20
_RECONNECT_SECONDS = 4  # the longest pause before another try
_MICROSECONDS = 1_000_000
_COVER_CODECS = frozenset({"mjpeg", "png"})  # that MP3, MP4 and FLAC all hold
_LARGEST_COVER_BYTES = 16_000_000  # FLAC counts to 16 MiB
_FRONT = "Cover (front)"  # what ID3, FLAC and FFmpeg call it
_TAG_ARGUMENTS = {
    # These tell of the container, and would pass for tags of the recording.
    "mov,mp4,m4a,3gp,3g2,mj2": (
        *("-metadata", "major_brand=", "-metadata", "minor_version="),
        *("-metadata", "compatible_brands="),
    ),
    "ogg": ("-map_metadata", "0:s:a:0"),  # its tags are the stream's
}


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream's seconds (None: the source does not say), when it begins, a picture's pixels.

    ffmpeg counts an output's seconds from the source's beginning, the silence before a late stream
    included; in a transport stream, from the beginning of what it maps. In all formats but those,
    `begins` is therefore 0 and `seconds` the stream's end.
    """

    seconds: float | None
    begins: float = 0.0
    pixels: int = 0


@dataclass(frozen=True, slots=True)
class Media:
    """What matters of a source.

    Attributes:
        audio: Its first audio stream.
        video: Its first video stream; pictures are none.
        seconds: Of the whole, where it says so.
        format: FFmpeg's name for its container.
        cover: Index of the stream that is its cover art, where that can be kept.
        has_24_bits: Whether its sound is lossless, of more than 16 bits a sample.
    """

    audio: Stream | None
    video: Stream | None
    seconds: float | None
    format: str = ""
    cover: int | None = None
    has_24_bits: bool = False

    def stream(self, kind: StreamKind) -> Stream | None:
        return self.audio if kind == "audio" else self.video


class UnreadableMedia(Exception):  # noqa: N818  # it says what the source is
    """A source that cannot be probed; the message says why, and holds no part of its address."""


def probe(location: str) -> Media:
    """Streams and seconds of the media file at a path or an http(s) URL.

    Reads its beginning and what its index needs, never the whole.

    Raises:
        UnreadableMedia: It cannot be read, or is no media file.
        MemoryError: It takes more memory than this process may have.
    """
    import av

    # An error's message comes from its code; what FFmpeg logs beside that goes nowhere.
    av.logging.set_level(None)
    try:
        _refuse_what_is_no_file(location)
        with av.open(
            _address(location),
            options=_options(location),
            timeout=(_CONNECT_SECONDS, _READ_SECONDS),
            metadata_errors="replace",
        ) as container:
            media = _media(container)
            if _is_cut(container, location):
                raise UnreadableMedia("cut short: its end is missing")
            return media
    except (av.FFmpegError, OSError, HTTPException) as error:
        if getattr(error, "errno", None) == ENOMEM:
            raise MemoryError from None
        raise UnreadableMedia(_reason(error, location)) from None


def expected_seconds(media: Media, preset: Preset) -> float | None:
    """Seconds that the output must have, those of the longest mapped stream; None: not known."""
    mapped = [stream for kind in preset.streams if (stream := media.stream(kind))]
    ends = [stream.begins + stream.seconds for stream in mapped if stream.seconds is not None]
    if ends and len(ends) == len(mapped):
        return max(ends) - min(stream.begins for stream in mapped)
    # The whole's length is that of its longest stream: it holds where no stream is left out.
    present = [stream for stream in (media.audio, media.video) if stream]
    return media.seconds if len(mapped) == len(present) else None


def source_arguments(media: Media, preset: Preset) -> tuple[str, ...]:
    """What ffmpeg must be told because of the source, after the preset's arguments.

    They follow from the content, so that the key of a conversion need not tell them.
    """
    arguments = _TAG_ARGUMENTS.get(media.format, ())
    if preset.holds_24_bits and not media.has_24_bits and "-sample_fmt" not in preset.arguments:
        # Lossy sound is decoded to floats, of which the encoder would keep 24 bits of noise.
        arguments += ("-sample_fmt", "s16")
    if preset.holds_cover and media.cover is not None:
        # Never a film in its place, should the node's ffmpeg count the streams otherwise.
        arguments += ("-map", f"0:{media.cover}?", "-map", "-0:V?", "-c:v", "copy")
        arguments += ("-disposition:v:0", "attached_pic", "-metadata:s:v:0", f"comment={_FRONT}")
    return arguments


def missing_stream(media: Media, preset: Preset) -> str | None:
    """Why the preset cannot convert the source; None: it can."""
    needed = preset.streams[0]
    if media.stream(needed):
        return None
    return f"it has no {needed} stream, which preset {preset.name} needs"


def excess(media: Media, preset: Preset) -> str | None:
    """Of what the source has more than is converted; None: of nothing."""
    if "video" in preset.streams and media.video and media.video.pixels > MOST_PIXELS:
        return f"its pictures have {media.video.pixels:,} pixels: more than 16K has"
    seconds = expected_seconds(media, preset) or 0
    if seconds > MOST_SECONDS:
        return f"it says that it lasts {seconds / 3600:,.0f} hours: it is damaged"
    return None


def _is_url(location: str) -> bool:
    return location.startswith(("http://", "https://"))


def _address(location: str) -> str:
    # With its protocol named, a path such as `a:b.mp4` is not taken for one.
    return location if _is_url(location) else f"file:{location}"


def _options(location: str) -> dict[str, str]:
    options = {
        "format_whitelist": ",".join(FORMATS),
        "max_pixels": str(MOST_PIXELS),  # cover art is decoded, too
    }
    if not _is_url(location):
        return options | {"protocol_whitelist": "file"}
    # Without these, FFmpeg asks for no certificate: whoever is in between would get the token.
    verified = {"tls_verify": "1", "ca_file": trusted_file()}
    again = {"reconnect_on_network_error": "1", "reconnect_on_http_error": "408,429,5xx"}
    again |= {"reconnect": "1", "reconnect_delay_max": str(_RECONNECT_SECONDS)}
    return options | {"protocol_whitelist": "http,https,tcp,tls"} | again | verified


def _refuse_what_is_no_file(location: str) -> None:
    if _is_url(location):
        return
    try:
        found = Path(location).stat()
    except (FileNotFoundError, NotADirectoryError):
        raise UnreadableMedia("there is no such file") from None
    if not S_ISREG(found.st_mode):  # a FIFO would be waited for
        raise UnreadableMedia("it is not a file")
    if found.st_size == 0:
        raise UnreadableMedia("the file is empty")


def _media(container: "InputContainer") -> Media:
    audio = next(iter(container.streams.audio), None)
    films = (stream for stream in container.streams.video if not _is_picture(stream))
    video = next((film for film in films if film.codec_context), None)
    if audio and audio.codec_context is None:
        raise UnreadableMedia("its sound is of no known kind: it is damaged, or very odd")
    if audio is None and video is None:
        raise UnreadableMedia("it has neither an audio nor a video stream")
    return Media(
        audio=None if audio is None else _stream(container, audio),
        video=None if video is None else _pictures(container, video),
        seconds=_whole_seconds(container),
        format=container.format.name,
        cover=_cover(container),
        has_24_bits=audio is not None and _has_24_bits(audio),
    )


def _cover(container: "InputContainer") -> int | None:
    """The picture marked as the front cover, else the first; None where none can be kept."""
    pictures = [stream for stream in container.streams.video if _is_picture(stream)]
    # FFmpeg hands out attached pictures ahead of all else, a packet each.
    packets = islice(container.demux(), len(pictures)) if pictures else ()
    covers = [packet.stream for packet in packets if _is_cover(packet)]
    covers.sort(key=lambda stream: stream.metadata.get("comment") != _FRONT)
    return covers[0].index if covers else None


def _is_cover(packet: "Packet[Any]") -> bool:
    from av.stream import Disposition

    stream, kind = cast("VideoStream", packet.stream), packet.stream.disposition
    is_one = kind & Disposition.attached_pic and not kind & Disposition.timed_thumbnails
    is_known = stream.codec_context is not None and stream.codec_context.name in _COVER_CODECS
    has_size = stream.width > 0  # not where it is vast, as some are that were made to do harm
    return bool(is_one) and is_known and has_size and 0 < packet.size <= _LARGEST_COVER_BYTES


def _has_24_bits(stream: "AudioStream") -> bool:
    context = stream.codec_context
    return context.codec.lossless and context.format.bits > 16  # noqa: PLR2004  the name has it


def _pictures(container: "InputContainer", stream: "VideoStream") -> Stream:
    return replace(_stream(container, stream), pixels=stream.width * stream.height)


def _is_picture(stream: "AvStream") -> bool:
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)


def _stream(container: "InputContainer", stream: "AvStream") -> Stream:
    seconds = _stream_seconds(container, stream)
    if seconds is None:
        return Stream(None)
    begins = (stream.start_time or 0) * float(stream.time_base or 0)
    begins -= (container.start_time or 0) / _MICROSECONDS
    if container.format.name in _REBASED_FORMATS:
        return Stream(seconds, begins)
    return Stream(begins + seconds)


def _stream_seconds(container: "InputContainer", stream: "AvStream") -> float | None:
    if _is_guessed(container):
        return None
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return _tagged_seconds(stream)


def _whole_seconds(container: "InputContainer") -> float | None:
    if _is_guessed(container) or not container.duration:
        return None
    return container.duration / _MICROSECONDS


def _is_guessed(container: "InputContainer") -> bool:
    """Whether FFmpeg guessed the length from the size, which a cut file has less of, too.

    An MP3 file says it in a Xing header, of which only the encoder's delay is seen from here.
    """
    if container.format.name == "mp3":
        return not container.start_time
    return container.format.name in _BARE_FORMATS


def _tagged_seconds(stream: "AvStream") -> float | None:
    """Matroska's `DURATION=00:00:07.023000000`: mkvmerge writes a length, FFmpeg an end."""
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")
    minutes, _, seconds = rest.partition(":")
    try:
        tagged = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None
    if "_STATISTICS_WRITING_APP" not in stream.metadata:
        tagged -= (stream.start_time or 0) * float(stream.time_base or 0)
    return tagged if tagged > 0 else None


def _reason(error: Exception, location: str) -> str:
    import av

    if not isinstance(error, av.InvalidDataError | av.ArgumentError):
        return f"it cannot be read: {getattr(error, 'strerror', None) or type(error).__name__}"
    if _first_bytes(location)[4:8] == b"ftyp":
        return "cut short or damaged: its index (moov) is missing"
    return "not a media file of a known format"


def _is_cut(container: "InputContainer", location: str) -> bool:
    """Whether that can be seen at the end or the beginning, where the length does not tell."""
    name = container.format.name
    if name in SIZED_FORMATS:
        head = _bytes(location, begin=0, end=HEAD_BYTES)
        return lacks_bytes(name, head, size_bytes=container.size)
    if name not in CHECKED_FORMATS or (name == "mp3" and not _is_guessed(container)):
        return False
    end = container.size
    return ends_midway(name, _bytes(location, begin=max(0, end - TAIL_BYTES), end=end))


def _first_bytes(location: str) -> bytes:
    try:
        return _bytes(location, begin=0, end=12)
    except (OSError, HTTPException):
        return b""


def _bytes(location: str, *, begin: int, end: int) -> bytes:
    if not _is_url(location):
        with Path(location).open("rb") as file:
            file.seek(begin)
            return file.read(end - begin)
    from urllib.request import Request, urlopen

    request = Request(location, headers={"Range": f"bytes={begin}-{end - 1}"})  # noqa: S310  # http or https
    with urlopen(request, timeout=_READ_SECONDS) as answer:  # noqa: S310  # as above
        return bytes(answer.read(end - begin))
