"""What a probe finds in a source, and what that means for a preset. Pure functions."""

from dataclasses import dataclass

from tasks.media.ffmpeg_options import StreamKind
from tasks.media.input_limits import MOST_PIXELS, MOST_SECONDS
from tasks.media.presets import Preset
from tasks.media.tag_arguments import CHAPTER_ARGUMENTS, format_arguments, stream_tag_arguments
from tasks.models import Extent

FRONT_COVER = "Cover (front)"  # as ID3, FLAC and FFmpeg name it
_REBASED_FORMATS = frozenset({"mpeg", "mpegts"})


@dataclass(frozen=True, slots=True)
class Stream:
    """An audio or video stream of a source.

    Attributes:
        seconds: Length of the stream. None: the source does not declare it.
        start_seconds: Start of the stream, from the beginning of the source.
        pixels: Pixels per picture.
    """

    seconds: float | None
    start_seconds: float = 0.0
    pixels: int = 0


@dataclass(frozen=True, slots=True)
class Media:
    """The properties of a source that conversions depend on.

    Attributes:
        audio: The first audio stream.
        video: The first video stream. Attached pictures do not count.
        seconds: Length of the whole source. None: the source does not declare it.
        format: FFmpeg's name for the container format.
        cover: Index of the stream with the cover art, if outputs can keep it.
        has_24_bits: Whether the audio is lossless and has more than 16 bits per sample.
        tags: The tags as a metadata file of FFmpeg, if those of the source are not UTF-8.
        has_stream_tags: Whether `tags` has those of the streams too.
        has_chapters: Whether `tags` has the chapters too.
        warnings: Sentences about what an output cannot keep as it is, for each preset.
    """

    audio: Stream | None
    video: Stream | None
    seconds: float | None
    format: str = ""
    cover: int | None = None
    has_24_bits: bool = False
    tags: str = ""
    has_stream_tags: bool = False
    has_chapters: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def is_single(self) -> bool:
        """Whether there is only sound, or only a film without sound."""
        return self.audio is None or self.video is None

    def stream(self, kind: StreamKind) -> Stream | None:
        return self.audio if kind == "audio" else self.video


class UnreadableMedia(Exception):  # noqa: N818  the name describes the source
    """A source that cannot be probed. The message is the reason, and contains no address."""


def extent(media: Media, preset: Preset, kind: StreamKind) -> Extent | None:
    """Return where a stream starts and ends in the output, or None if the output has none."""
    stream = media.stream(kind) if kind in preset.streams else None
    if stream is None:
        return None
    start_seconds = stream.start_seconds - _skipped_seconds(media, preset)
    seconds = media.seconds if stream.seconds is None and media.is_single else stream.seconds
    if not is_length(seconds):
        return Extent(start_seconds, None, media.seconds if is_length(media.seconds) else None)
    return Extent(start_seconds, start_seconds + (seconds or 0))


def is_length(seconds: float | None) -> bool:
    """Return whether a length is known. A file of one packet may end before it starts."""
    return seconds is not None and seconds > 0


def _skipped_seconds(media: Media, preset: Preset) -> float:
    """Return what ffmpeg leaves out before the first stream of a film.

    In some formats it moves the streams that it converts to zero. In the others, and where only
    sound is converted, the output starts with the source.
    """
    if media.format not in _REBASED_FORMATS or "video" not in preset.streams:
        return 0.0
    return min(stream.start_seconds for stream in (media.audio, media.video) if stream)


def expected_seconds(media: Media, preset: Preset) -> float | None:
    """Return the seconds that the output must have. None: the source does not declare them."""
    extents = [found for kind in preset.streams if (found := extent(media, preset, kind))]
    ends = [found.end_seconds for found in extents if found.end_seconds is not None]
    if ends and len(ends) == len(extents):
        return max(ends)
    # The whole source is as long as its longest stream, so this holds only if all are mapped.
    present = [stream for stream in (media.audio, media.video) if stream]
    return media.seconds if len(extents) == len(present) and is_length(media.seconds) else None


def source_arguments(media: Media, preset: Preset) -> tuple[str, ...]:
    """Return the ffmpeg arguments that depend on the source. They follow those of the preset.

    A conversion's key does not include them: they depend only on the content and the version of the
    preset. To change these rules, raise the versions of the presets that they concern.
    """
    arguments = format_arguments(media.format)
    if media.has_stream_tags:
        arguments += stream_tag_arguments(has_film="video" in preset.streams)
    if media.has_chapters:
        arguments += CHAPTER_ARGUMENTS
    if preset.holds_24_bits and not media.has_24_bits and "-sample_fmt" not in preset.arguments:
        # Lossy audio decodes to floats. The encoder would keep 24 bits of noise.
        arguments += ("-sample_fmt", "s16")
    if preset.holds_cover and media.cover is not None:
        # `-0:V?` removes a film that has this index because the node's ffmpeg counts differently.
        arguments += ("-map", f"0:{media.cover}?", "-map", "-0:V?", "-c:v", "copy")
        arguments += ("-disposition:v:0", "attached_pic")
        arguments += ("-metadata:s:v:0", f"comment={FRONT_COVER}")
    return arguments


def preferred_arguments(media: Media, preset: Preset) -> tuple[str, ...]:
    """Return all arguments of a conversion that a node tries first. (): it tries nothing else.

    A node falls back to the usual arguments if its ffmpeg lacks a filter, or if the output would
    not be whole and in time.
    """
    return ()


def missing_stream(media: Media, preset: Preset) -> str | None:
    """Return the reason if the source lacks the stream that the preset requires."""
    needed = preset.streams[0]
    if media.stream(needed):
        return None
    return f"no {needed} stream; preset {preset.name} requires one"


def exceeded_limit(media: Media, preset: Preset) -> str | None:
    """Return the reason if the source is larger or longer than `input_limits` allows."""
    pixels = media.video.pixels if media.video and "video" in preset.streams else 0
    if pixels > MOST_PIXELS:
        return f"its pictures have {pixels:,} pixels; the limit is {MOST_PIXELS:,} (16K)"
    seconds = expected_seconds(media, preset) or 0
    if seconds > MOST_SECONDS:
        return f"it declares a length of {seconds / 3600:,.0f} hours: the file is damaged"
    return None
