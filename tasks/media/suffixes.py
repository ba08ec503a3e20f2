"""The suffixes of file names that a folder, a glob or a prefix takes as media files."""

from collections.abc import Mapping

from tasks.media.output_names import split_suffix

# By the format that ffmpeg finds in such files. The formats are those of input_limits.py.
SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "aac": (".aac", ".adts"),
    "ac3": (".ac3",),
    "aiff": (".aif", ".aifc", ".aiff"),
    "amr": (".amr", ".awb"),
    "ape": (".ape",),
    "asf": (".asf", ".wm", ".wma", ".wmv"),
    "au": (".au", ".snd"),
    "avi": (".avi", ".divx"),
    "caf": (".caf",),
    "dts": (".dts",),
    "eac3": (".eac3", ".ec3"),
    "flac": (".flac",),
    "flv": (".flv",),
    "matroska": (".mk3d", ".mka", ".mkv", ".weba", ".webm"),
    "mov": (
        *(".3g2", ".3ga", ".3gp", ".3gp2", ".3gpp", ".f4a", ".f4b", ".f4v", ".m4a", ".m4b"),
        *(".m4r", ".m4v", ".mov", ".mp4", ".mqv", ".qt"),
    ),
    "mp3": (".m2a", ".mp2", ".mp3", ".mpa", ".mpga"),
    "mpeg": (".m2p", ".mod", ".mpe", ".mpeg", ".mpg", ".vob", ".vro"),
    "mpegts": (".m2t", ".m2ts", ".mts", ".tod", ".tp", ".trp", ".ts"),
    "mxf": (".mxf",),
    "ogg": (".oga", ".ogg", ".oggflac", ".ogm", ".ogv", ".ogx", ".opus", ".spx"),
    "tta": (".tta",),
    "w64": (".w64",),
    "wav": (".bwf", ".rf64", ".wav", ".wave"),
    "wv": (".wv",),
}
_MEDIA_SUFFIXES = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)


def is_media(name: str) -> bool:
    return split_suffix(name)[1].lower() in _MEDIA_SUFFIXES
