"""The ffmpeg arguments for the tags of a source. They contain no text from it."""

from collections.abc import Mapping, Sequence
from functools import cache

_MOV = ("major_brand", "minor_version", "compatible_brands")
_MOV_STREAM = ("vendor_id",)
_MXF = (
    *("uid", "generation_uid", "product_uid", "material_package_umid", "operational_pattern_ul"),
    *("company_name", "product_name", "product_version", "product_version_num"),
    *("toolkit_version_num", "application_platform", "modification_date"),
)
_MXF_STREAM = ("file_package_umid", "reel_umid", "data_type")
# mkvmerge counts the bytes and frames of each track. It used to declare English for that.
_MKVMERGE_STREAM = tuple(
    f"{name}{language}"
    for language in ("", "-eng")
    for name in (
        *("BPS", "DURATION", "NUMBER_OF_FRAMES", "NUMBER_OF_BYTES", "SOURCE_ID"),
        *("_STATISTICS_TAGS", "_STATISTICS_WRITING_APP", "_STATISTICS_WRITING_DATE_UTC"),
    )
)


def _removing(option: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for name in names for word in (option, f"{name}="))


# Tags that ffmpeg removes, with the arguments below or without any. Where it removes one from the
# middle, it puts the last one there.
REMOVED = frozenset((*_MOV, *_MXF, "creation_time", "duration", "encoder"))
# By format: tags of the file and of its streams that describe the container, the program that wrote
# it or its streams. In the output they would look like tags of the recording, or be wrong.
_DESCRIBING: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "mov,mp4,m4a,3gp,3g2,mj2": (_MOV, _MOV_STREAM),
    "mxf": (_MXF, _MXF_STREAM),
    "matroska,webm": ((), _MKVMERGE_STREAM),
}
# Where the tag file has the tags of each stream. tasks/media/probe.py writes them in this order:
# the film, the cover, each sound track, each subtitle track.
_FILM, _COVER, _FIRST_TRACK = 0, 1, 2
CHAPTER_ARGUMENTS = ("-map_chapters", "1")  # from the tag file


@cache  # so that the conversions of a large plan share them
def format_arguments(name: str) -> tuple[str, ...]:
    """Return the arguments for a source of a container format. `name` is FFmpeg's."""
    of_file, of_streams = _DESCRIBING.get(name, ((), ()))
    return _removing("-metadata", of_file) + _removing("-metadata:s", of_streams)


def describing_tags(name: str) -> frozenset[str]:
    """Return the tags of a file of a format that its outputs do not have, in lower case."""
    of_file, _ = _DESCRIBING.get(name, ((), ()))
    return frozenset(("encoder", *map(str.lower, of_file)))  # each output names its own encoder


def describing_stream_tags(name: str) -> frozenset[str]:
    """Return the tags of the streams of a format that no output has, in lower case."""
    _, of_streams = _DESCRIBING.get(name, ((), ()))
    return frozenset(map(str.lower, of_streams))


def ogg_tag_arguments(tracks: Sequence[int]) -> tuple[str, ...]:
    """Return the arguments that take the tags from the first track. Ogg stores tags per stream.

    `tracks` are the sound tracks of the output. Without any, the tags are those of the film.
    """
    if not tracks:
        return ("-map_metadata", "0:s:V:0")
    # To map them turns off ffmpeg's own copy of the tags of all streams.
    own = ((f"-map_metadata:s:a:{n}", f"0:s:a:{track}") for n, track in enumerate(tracks))
    return ("-map_metadata", f"0:s:a:{tracks[0]}", *(word for pair in own for word in pair))


def stream_tag_arguments(
    tracks: Sequence[int], *, subtitles: Sequence[int], has_film: bool
) -> tuple[str, ...]:
    """Return the arguments that take the tags of an output's streams from the tag file.

    `tracks` and `subtitles` are numbers of tracks: the sound tracks of the source come first.
    """
    sections = {"v:0": _FILM if has_film else _COVER}
    sections |= {f"a:{number}": _FIRST_TRACK + track for number, track in enumerate(tracks)}
    sections |= {f"s:{number}": _FIRST_TRACK + track for number, track in enumerate(subtitles)}
    pairs = ((f"-map_metadata:s:{stream}", f"1:s:{at}") for stream, at in sections.items())
    return tuple(word for pair in pairs for word in pair)
