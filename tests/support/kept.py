"""What the outputs of each preset keep of a source. docs/usage.md has the same table.

The matrix test verifies it by decoding outputs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Kept:
    """What the outputs of a preset keep, and the sound that they have.

    Attributes:
        most_channels: Sound with more channels is mixed down.
        rates: The sample rates that the sound can have. Others become the nearest. (): any rate.
        pictures: Codec of the pictures.
        tracks: Sound tracks: "one", or "one or all" where users can ask for all.
        default_flag: Whether sound tracks have a default flag.
        language: Whether sound tracks have a language.
        titles: Whether the only sound track keeps its title. Several always do.
        subtitles: Whether text subtitles are kept with all tracks.
        time: Whether the sound begins when it begins in the source.
    """

    codec: str
    most_channels: int = 8
    rates: tuple[int, ...] = ()
    pictures: str = ""
    tracks: str = "one"
    default_flag: bool = False
    language: bool = False
    titles: bool = False
    tags: bool = True
    chapters: bool = False
    cover: bool = False
    subtitles: bool = False
    time: bool = True

    @property
    def cells(self) -> Mapping[str, str]:
        """The cells of the preset's row in docs/usage.md, by the heads of their columns."""
        flags = ("language", "tags", "chapters", "cover", "subtitles", "time")
        return {
            "sound tracks": self.tracks,
            **{name: "yes" if getattr(self, name) else "" for name in flags},
        }


_RATES_OF_MP3 = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_MP3 = Kept("mp3", most_channels=2, rates=_RATES_OF_MP3, chapters=True, cover=True)
_OPUS = Kept("opus", rates=(48_000,), language=True, chapters=True)
_M4A = Kept("aac", tracks="one or all", default_flag=True, language=True, chapters=True, cover=True)
KEPT: Mapping[str, Kept] = {
    "mp3": _MP3,
    "mp3-320k": _MP3,
    "m4a": _M4A,
    "opus": _OPUS,
    "opus-speech": replace(_OPUS, most_channels=1),
    "flac": Kept("flac", cover=True),
    "wav": Kept("pcm_s16le"),
    "wav-16k": Kept("pcm_s16le", most_channels=1, rates=(16_000,)),
    "mp4-720p": replace(_M4A, pictures="h264", titles=True, subtitles=True, cover=False),
    "webm": replace(
        _OPUS, pictures="vp9", tracks="one or all", titles=True, subtitles=True, default_flag=True
    ),
}
