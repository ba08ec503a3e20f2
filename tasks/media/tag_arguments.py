"""The ffmpeg arguments for the tags of a source. They contain no text from it."""

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


def _without(option: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for name in names for word in (option, f"{name}="))


# By format: tags that describe the container, the program that wrote it or its streams. In the
# output they would look like tags of the recording, or be wrong.
_FORMAT_ARGUMENTS = {
    "mov,mp4,m4a,3gp,3g2,mj2": _without("-metadata", _MOV) + _without("-metadata:s", _MOV_STREAM),
    "mxf": _without("-metadata", _MXF) + _without("-metadata:s", _MXF_STREAM),
    "matroska,webm": _without("-metadata:s", _MKVMERGE_STREAM),
    "ogg": ("-map_metadata", "0:s:a:0"),  # Ogg stores tags per stream
}
# Where the tag file has the tags of each stream. tasks/media/probe.py writes them in this order.
_FILM, _COVER, _SOUND = "1:s:0", "1:s:1", "1:s:2"


def format_arguments(name: str) -> tuple[str, ...]:
    """Return the arguments for a source of a container format. `name` is FFmpeg's."""
    return _FORMAT_ARGUMENTS.get(name, ())


def stream_tag_arguments(*, has_film: bool) -> tuple[str, ...]:
    """Return the arguments that take the tags of the streams from the tag file."""
    picture = _FILM if has_film else _COVER
    return ("-map_metadata:s:a:0", _SOUND, "-map_metadata:s:v:0", picture)


CHAPTER_ARGUMENTS = ("-map_chapters", "1")  # from the tag file
