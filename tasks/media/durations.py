"""Declared lengths of streams: read from a container's headers and tags, never guessed."""

from typing import TYPE_CHECKING

from tasks.media.streams import Stream

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.stream import Stream as AvStream

# Bare streams do not declare a length: FFmpeg divides their size by their bit rate.
_BARE_FORMATS = frozenset({"aac", "ac3", "amr", "dts", "eac3"})
_ASF, _MATROSKA = "asf", "matroska,webm"
_MICROSECONDS = 1_000_000
_OPUS_RATE = 48_000


def read_stream(container: "InputContainer", stream: "AvStream") -> Stream:
    start_seconds = _start_seconds(stream) - (container.start_time or 0) / _MICROSECONDS
    return Stream(_stream_seconds(container, stream), max(0.0, start_seconds))


def whole_seconds(container: "InputContainer") -> float | None:
    if is_guessed(container) or not container.duration:
        return None
    if container.format.name == _ASF:  # FFmpeg adds the start of the latest stream
        return max(float((s.duration or 0) * (s.time_base or 0)) for s in container.streams)
    return container.duration / _MICROSECONDS


def is_guessed(container: "InputContainer") -> bool:
    """Return whether FFmpeg guessed the length from the size, which is smaller in a cut file.

    An MP3 file declares its length in a Xing header. PyAV does not expose the header, but the
    encoder delay in it: a start time that is not 0.
    """
    if container.format.name == "mp3":
        return not container.start_time
    return container.format.name in _BARE_FORMATS


def _stream_seconds(container: "InputContainer", stream: "AvStream") -> float | None:
    if is_guessed(container) or container.format.name == _ASF:  # each has that of the whole file
        return None
    if container.format.name == _MATROSKA:  # FFmpeg may take the length of another stream
        return _tagged_seconds(stream)
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base) - _pre_skip_seconds(container, stream)
    return None


def _pre_skip_seconds(container: "InputContainer", stream: "AvStream") -> float:
    """Return the length of what decoders skip at the start of Opus in Ogg (RFC 7845, 4.2 and 5.1).

    The length that FFmpeg reads from Ogg contains it.
    """
    context = stream.codec_context
    if container.format.name != "ogg" or context is None or context.name != "opus":
        return 0.0
    return int.from_bytes((context.extradata or b"")[10:12], "little") / _OPUS_RATE


def _tagged_seconds(stream: "AvStream") -> float | None:
    """Return the length in Matroska's tag `DURATION=00:00:07.023000000`.

    mkvmerge writes a length into it, FFmpeg an end.
    """
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")
    minutes, _, seconds = rest.partition(":")
    try:
        tagged = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None
    if "_STATISTICS_WRITING_APP" not in stream.metadata:
        tagged -= _start_seconds(stream)
    return tagged if tagged > 0 else None


def _start_seconds(stream: "AvStream") -> float:
    return (stream.start_time or 0) * float(stream.time_base or 0)
