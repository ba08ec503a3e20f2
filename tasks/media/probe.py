"""The media probe: reads the streams and lengths of a source without converting it."""

from dataclasses import replace
from errno import ENOMEM
from http.client import HTTPException
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING

from tasks.azure.transport import trusted_file
from tasks.media import asf_header
from tasks.media.cover_art import find_cover, is_attached_picture
from tasks.media.durations import is_guessed, read_stream, whole_seconds
from tasks.media.encryption import SAMPLE_BYTES, SAMPLED_FORMATS, encrypted_streams
from tasks.media.input_limits import FORMATS, MOST_PIXELS
from tasks.media.pictures import SDR, read_picture_format
from tasks.media.sounds import read_sounds, text_subtitles
from tasks.media.streams import NO_SOUND, Media, Stream, UnreadableMedia, without_lengths
from tasks.media.tag_file import RAW, read_tags, write_tags
from tasks.media.truncation import (
    CHECKED_FORMATS,
    HEAD_BYTES,
    HEADED_FORMATS,
    SIZED_FORMATS,
    TAIL_BYTES,
    declares_more_bytes,
    ends_in_junk,
    has_size_placeholder,
    is_cut_at_end,
)
from tasks.media.unsupported import MAGIC_BYTES, id3_bytes, unsupported_format

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

_CONNECT_SECONDS = 10
_READ_SECONDS = 20
_RECONNECT_SECONDS = 4  # the longest pause before a retry


def probe(location: str) -> Media:
    """Return the streams and lengths of the media file at a path or an http(s) URL.

    Reads the beginning of the file and what its index requires, never the whole file.

    Raises:
        UnreadableMedia: The file cannot be read, or is not a media file.
        MemoryError: The probe needs more memory than this process may have.
    """
    import av

    # Reasons come from the codes of errors. FFmpeg's own log is off.
    av.logging.set_level(None)
    try:
        _check_file(location)
        with av.open(
            _address(location),
            options=_options(location),
            timeout=(_CONNECT_SECONDS, _READ_SECONDS),
            metadata_errors=RAW,
        ) as container:
            media = _media(container, location)
            _check_end(container, location)
            return _with_true_length(media, container, location)
    except (av.FFmpegError, OSError, HTTPException) as error:
        if getattr(error, "errno", None) == ENOMEM:
            raise MemoryError from None
        raise UnreadableMedia(_reason(error, location)) from None


def _check_file(location: str) -> None:
    if _is_url(location):
        return
    try:
        found = Path(location).stat()
    except (FileNotFoundError, NotADirectoryError):
        raise UnreadableMedia("file not found") from None
    if not S_ISREG(found.st_mode):  # opening a FIFO would block
        raise UnreadableMedia("not a regular file")
    if found.st_size == 0:
        raise UnreadableMedia("the file is empty")


def _is_url(location: str) -> bool:
    return location.startswith(("http://", "https://"))


def _address(location: str) -> str:
    # The explicit protocol keeps FFmpeg from reading one into a path such as `a:b.mp4`.
    return location if _is_url(location) else f"file:{location}"


def _options(location: str) -> dict[str, str]:
    options = {
        "format_whitelist": ",".join(FORMATS),
        "max_pixels": str(MOST_PIXELS),  # FFmpeg decodes cover art
    }
    if not _is_url(location):
        return options | {"protocol_whitelist": "file"}
    # By default FFmpeg does not verify certificates, and an impostor would get the SAS token.
    verified = {"tls_verify": "1", "ca_file": trusted_file()}
    retries = {"reconnect_on_network_error": "1", "reconnect_on_http_error": "408,429,5xx"}
    retries |= {"reconnect": "1", "reconnect_delay_max": str(_RECONNECT_SECONDS)}
    return options | {"protocol_whitelist": "http,https,tcp,tls"} | retries | verified


def _media(container: "InputContainer", location: str) -> Media:
    tags = read_tags(container)
    films = (stream for stream in container.streams.video if not is_attached_picture(stream))
    video = next((film for film in films if film.codec_context), None)
    tracks = len(container.streams.audio)
    cover = find_cover(container)  # it reads the first packets
    encrypted = _encrypted_streams(container, location)
    sounds = read_sounds(container, encrypted)
    if not sounds and video is None:
        raise UnreadableMedia(NO_SOUND if tracks else "no audio or video stream")
    attached = (video, None if cover is None else container.streams[cover])
    streams = (*attached, *container.streams.audio, *container.streams.subtitles)
    tag_file = write_tags(tags, streams)
    return Media(
        sounds=sounds,
        video=None if video is None else _read_video(container, video, encrypted),
        seconds=whole_seconds(container),
        format=container.format.name,
        cover=cover,
        subtitles=text_subtitles(container),
        tracks=tracks,
        tags=tag_file.text,
        opus_tags=tag_file.opus_text,
        has_stream_tags=tag_file.has_streams,
        has_chapters=tag_file.has_chapters,
        pictures=SDR
        if video is None
        else read_picture_format(video, container_format=container.format.name),
        warnings=tag_file.warnings,
    )


def _encrypted_streams(container: "InputContainer", location: str) -> frozenset[int]:
    head = tail = b""
    if container.format.name in SAMPLED_FORMATS:
        head = _bytes(location, begin=0, end=SAMPLE_BYTES)
        tail = _bytes(location, begin=max(0, container.size - SAMPLE_BYTES), end=container.size)
    return encrypted_streams(container, head, tail)


def _read_video(
    container: "InputContainer", stream: "VideoStream", encrypted: frozenset[int]
) -> Stream:
    found, pixels = read_stream(container, stream), stream.width * stream.height
    return replace(found, pixels=pixels, is_encrypted=stream.index in encrypted)


def _reason(error: Exception, location: str) -> str:
    import av

    if not isinstance(error, av.InvalidDataError | av.ArgumentError):
        return f"cannot be read: {getattr(error, 'strerror', None) or type(error).__name__}"
    head = _first_bytes(location)
    if head[4:8] == b"ftyp":
        return "cut short or damaged: its index (moov) is missing"
    return unsupported_format(head) or "not a media file of a known format"


def _with_true_length(media: Media, container: "InputContainer", location: str) -> Media:
    """Return the media without lengths from a header that its recorder has not completed."""
    if media.format not in HEADED_FORMATS:
        return media
    head = _bytes(location, begin=0, end=HEAD_BYTES)
    if media.format == "avi":
        is_unfinished = has_size_placeholder(head, size_bytes=container.size)
        return without_lengths(media) if is_unfinished else media
    begin, end = asf_header.last_packet(head)
    packet = _bytes(location, begin=begin, end=end) if end else b""
    return replace(media, seconds=asf_header.declared_seconds(head, packet))


def _check_end(container: "InputContainer", location: str) -> None:
    """Check the first or last bytes, in formats whose length does not show that the end is lost.

    Raises:
        UnreadableMedia: The file is cut short, or its end is damaged.
    """
    name, size_bytes = container.format.name, container.size
    is_short = False
    if name in SIZED_FORMATS:
        head = _bytes(location, begin=0, end=HEAD_BYTES)
        is_short = declares_more_bytes(name, head, size_bytes=size_bytes)
    elif name in CHECKED_FORMATS and (name != "mp3" or is_guessed(container)):
        tail = _bytes(location, begin=max(0, size_bytes - TAIL_BYTES), end=size_bytes)
        if ends_in_junk(name, tail, size_bytes=size_bytes):
            raise UnreadableMedia("damaged: its end is lost or overwritten")
        is_short = is_cut_at_end(name, tail)
    if is_short:
        raise UnreadableMedia("cut short: its end is missing")


def _first_bytes(location: str) -> bytes:
    """Return the first bytes after an ID3v2 tag, or nothing if they cannot be read."""
    try:
        head = _bytes(location, begin=0, end=MAGIC_BYTES)
        begin = id3_bytes(head)
        return _bytes(location, begin=begin, end=begin + MAGIC_BYTES) if begin else head
    except (OSError, HTTPException):
        return b""


def _bytes(location: str, *, begin: int, end: int) -> bytes:
    if not _is_url(location):
        with Path(location).open("rb") as file:
            file.seek(begin)
            return file.read(end - begin)
    from urllib.request import Request, urlopen

    request = Request(location, headers={"Range": f"bytes={begin}-{end - 1}"})  # noqa: S310  http or https
    with urlopen(request, timeout=_READ_SECONDS) as answer:  # noqa: S310  as above
        return bytes(answer.read(end - begin))
