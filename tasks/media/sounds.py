"""The sound tracks and subtitles that PyAV finds in a source."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from tasks.media.durations import read_stream
from tasks.media.streams import Sound

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

MOST_TRACKS = 64  # a file with more is damaged or malicious
_LONGEST_TEXT = 64
_FIRST_PACKETS = 1000
_UNDETERMINED = "und"  # ISO 639-2
_TEXT_SUBTITLES = frozenset({"ass", "mov_text", "ssa", "subrip", "text", "webvtt"})


def read_sounds(container: "InputContainer", encrypted: Collection[int]) -> tuple[Sound, ...]:
    """Return the sound tracks that FFmpeg can decode, in their order.

    `encrypted` has the indexes of streams that are encrypted.
    """
    streams = [
        (n, s) for n, s in enumerate(container.streams.audio[:MOST_TRACKS]) if s.codec_context
    ]
    filled = _filled(container, [stream for _, stream in streams])
    return tuple(
        replace(_read_sound(container, stream, track), is_encrypted=stream.index in encrypted)
        for track, stream in streams
        if stream.index in filled
    )


def _filled(container: "InputContainer", streams: Sequence["AudioStream"]) -> set[int]:
    """Return the indexes of tracks with packets. If a track has channels, FFmpeg has seen some."""
    filled = {stream.index for stream in streams if stream.codec_context.channels}
    packets = islice(container.demux(), _FIRST_PACKETS)
    while len(filled) < len(streams) and (packet := next(packets, None)):
        if packet.size and packet.stream in streams:
            filled.add(packet.stream_index)
    return filled


def _read_sound(container: "InputContainer", stream: "AudioStream", track: int) -> Sound:
    from av.stream import Disposition

    context, read = stream.codec_context, read_stream(container, stream)
    rate = context.sample_rate or 0
    # Where FFmpeg starts it.
    start_seconds = round(read.start_seconds * rate) / rate if rate else read.start_seconds
    return Sound(
        seconds=read.seconds,
        start_seconds=start_seconds,
        track=track,
        codec=context.codec.canonical_name,
        channels=context.channels,
        samples_per_second=rate,
        bits_per_second=stream.bit_rate or context.bit_rate or 0,
        has_24_bits=_has_24_bits(stream),
        language=_language(stream),
        title=stream.metadata.get("title", "")[:_LONGEST_TEXT],
        is_default=bool(stream.disposition & Disposition.default),
        is_commentary=bool(stream.disposition & Disposition.comment),
    )


def _language(stream: "AudioStream") -> str:
    language = stream.language or ""
    return "" if language == _UNDETERMINED else language[:_LONGEST_TEXT]


def _has_24_bits(stream: "AudioStream") -> bool:
    context = stream.codec_context
    # The format is unknown if FFmpeg cannot decode the sound.
    return bool(context.format and context.codec.lossless and context.format.bits > 16)  # noqa: PLR2004  a size in bits


def text_subtitles(container: "InputContainer") -> tuple[int, ...]:
    return tuple(
        number
        for number, stream in enumerate(container.streams.subtitles[:MOST_TRACKS])
        if stream.codec_context and stream.codec_context.codec.canonical_name in _TEXT_SUBTITLES
    )
