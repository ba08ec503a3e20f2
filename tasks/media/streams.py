"""What a probe finds in a source, and what that means for a preset. Pure functions."""

from dataclasses import dataclass, replace

from tasks.media.ffmpeg_options import StreamKind
from tasks.media.input_limits import MOST_CHANNELS, MOST_PIXELS, MOST_SECONDS
from tasks.media.pictures import SDR, PictureFormat
from tasks.media.presets import Preset
from tasks.models import Extent

NO_SOUND = "the sound of the source is empty, or of a codec that ffmpeg does not know"
FRONT_COVER = "Cover (front)"  # as ID3, FLAC and FFmpeg name it
_REBASED_FORMATS = frozenset({"mpeg", "mpegts"})


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream of a source.

    Attributes:
        seconds: Length of the stream. None: the source does not declare it.
        start_seconds: Start of the stream, from the beginning of the source.
        pixels: Pixels per picture.
        is_encrypted: Whether its data are encrypted.
    """

    seconds: float | None
    start_seconds: float = 0.0
    pixels: int = 0
    is_encrypted: bool = False


@dataclass(frozen=True, slots=True)
class Sound(Stream):
    """A sound track of a source that FFmpeg can decode.

    Attributes:
        track: Its number among the sound tracks of the source, from 0.
        codec: FFmpeg's name for the codec.
        channels: 0: not known.
        bits_per_second: 0: the source does not declare it.
        has_24_bits: Whether it is lossless and has more than 16 bits per sample.
        language: As the source has it, such as eng, deu or pt-BR. "": unknown.
    """

    track: int = 0
    codec: str = ""
    channels: int = 0
    samples_per_second: int = 0
    bits_per_second: int = 0
    has_24_bits: bool = False
    language: str = ""
    title: str = ""
    is_default: bool = False
    is_commentary: bool = False


@dataclass(frozen=True, slots=True)
class Media:
    """The properties of a source that conversions depend on.

    Attributes:
        sounds: The sound tracks, the one to convert first.
        video: The first video stream. Attached pictures do not count.
        seconds: Length of the whole source. None: the source does not declare it.
        format: FFmpeg's name for the container format.
        cover: Index of the stream with the cover art, if outputs can keep it.
        subtitles: Numbers of the text subtitles among the subtitles of the source, from 0.
        tracks: Number of sound tracks, with those that FFmpeg cannot decode.
        tags: The tags as a metadata file of FFmpeg, if those of the source are not UTF-8.
        opus_tags: The same for Opus outputs, if the source has chapters.
        has_stream_tags: Whether `tags` has those of the streams too.
        has_chapters: Whether `tags` has the chapters too.
        pictures: Properties of the pictures of the film.
        warnings: Sentences about what an output cannot keep as it is, for each preset.
    """

    sounds: tuple[Sound, ...]
    video: Stream | None
    seconds: float | None
    format: str = ""
    cover: int | None = None
    subtitles: tuple[int, ...] = ()
    tracks: int = 0
    tags: str = ""
    opus_tags: str = ""
    has_stream_tags: bool = False
    has_chapters: bool = False
    pictures: PictureFormat = SDR
    warnings: tuple[str, ...] = ()

    @property
    def audio(self) -> Sound | None:
        """The sound track to convert."""
        return self.sounds[0] if self.sounds else None

    @property
    def is_single(self) -> bool:
        """Whether there is only one sound track, or only a film without sound."""
        return len(self.sounds) + (self.video is not None) == 1

    def stream(self, kind: StreamKind) -> Stream | None:
        return self.audio if kind == "audio" else self.video


class UnreadableMedia(Exception):  # noqa: N818  the name describes the source
    """A source that cannot be probed. The message is the reason, and contains no address."""


def without_lengths(media: Media) -> Media:
    """Return the media as if the source did not declare how long it is."""
    sounds = tuple(replace(sound, seconds=None) for sound in media.sounds)
    video = media.video and replace(media.video, seconds=None)
    return replace(media, sounds=sounds, video=video, seconds=None)


def taken_sounds(media: Media, preset: Preset) -> tuple[Sound, ...]:
    """Return the sound tracks of the output, the main one first."""
    return media.sounds if preset.choices.tracks == "all" else media.sounds[:1]


def sound_extents(media: Media, preset: Preset) -> tuple[Extent, ...]:
    """Return where each sound track of the output starts and ends."""
    taken = taken_sounds(media, preset)
    return tuple(replace(_extent(sound, media, preset), track=sound.track) for sound in taken)


def picture_extent(media: Media, preset: Preset) -> Extent | None:
    """Return where the pictures of the output start and end, or None if it has none."""
    film = media.video if "video" in preset.streams else None
    return _extent(film, media, preset) if film else None


def picture_pixels(media: Media, preset: Preset) -> int:
    """Return the pixels per picture that the preset converts. 0: it converts none."""
    return media.video.pixels if media.video and "video" in preset.streams else 0


def _extent(stream: Stream, media: Media, preset: Preset) -> Extent:
    start_seconds = stream.start_seconds - _rebased_seconds(media, preset)
    seconds = media.seconds if stream.seconds is None and media.is_single else stream.seconds
    if not is_length(seconds):
        return Extent(start_seconds, None, media.seconds if is_length(media.seconds) else None)
    return Extent(start_seconds, start_seconds + (seconds or 0))


def is_length(seconds: float | None) -> bool:
    """Return whether a length is known. A file of one packet may end before it starts."""
    return seconds is not None and seconds > 0


def _rebased_seconds(media: Media, preset: Preset) -> float:
    """Return what ffmpeg leaves out before the first stream of a film.

    In some formats it moves the streams that it converts to zero. In the others, and where only
    sound is converted, the output starts with the source.
    """
    if media.format not in _REBASED_FORMATS or "video" not in preset.streams:
        return 0.0
    converted = (*taken_sounds(media, preset), media.video)
    return min(stream.start_seconds for stream in converted if stream)


def expected_seconds(media: Media, preset: Preset) -> float | None:
    """Return the seconds that the output must have. None: the source does not declare them."""
    mapped = (*sound_extents(media, preset), picture_extent(media, preset))
    extents = [each for each in mapped if each]
    ends = [found.end_seconds for found in extents if found.end_seconds is not None]
    if ends and len(ends) == len(extents):
        return max(ends)
    # The whole source is as long as its longest stream, so this holds only if all are mapped.
    present = [*media.sounds, *([media.video] if media.video else ())]
    is_whole = len(extents) == len(present) and is_length(media.seconds)
    return media.seconds if is_whole else None


def missing_stream(media: Media, preset: Preset) -> str | None:
    """Return the reason if the source lacks the stream that the preset requires."""
    needed = preset.streams[0]
    if media.stream(needed):
        return None
    if needed == "audio" and media.tracks:
        return NO_SOUND
    return f"no {needed} stream; preset {preset.name} requires one"


def encrypted_stream(media: Media, preset: Preset) -> str | None:
    """Return the reason if a stream that the preset converts is encrypted."""
    film = [media.video] if media.video and "video" in preset.streams else []
    streams = {"pictures": film, "sound": taken_sounds(media, preset)}
    encrypted = [name for name, found in streams.items() if any(s.is_encrypted for s in found)]
    if not encrypted:
        return None
    verb = "is" if encrypted == ["sound"] else "are"
    return f"its {' and '.join(encrypted)} {verb} encrypted (DRM): convert an unencrypted copy"


def exceeded_limit(media: Media, preset: Preset) -> str | None:
    """Return the reason if the source is larger or longer than `input_limits` allows."""
    pixels = picture_pixels(media, preset)
    if pixels > MOST_PIXELS:
        return f"its pictures have {pixels:,} pixels; the limit is {MOST_PIXELS:,} (16K)"
    channels = max((sound.channels for sound in taken_sounds(media, preset)), default=0)
    if channels > MOST_CHANNELS:
        return f"its sound has {channels} channels; the limit is {MOST_CHANNELS}"
    seconds = expected_seconds(media, preset) or 0
    if seconds > MOST_SECONDS:
        return f"it declares a length of {seconds / 3600:,.0f} hours: the file is damaged"
    return None
