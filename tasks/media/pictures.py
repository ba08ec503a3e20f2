"""How pictures become progressive and BT.709. ffmpeg's arguments for it are pure functions."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.media.ffmpeg_options import option_value, without_options
from tasks.media.presets import Preset

if TYPE_CHECKING:
    from av.video.stream import VideoStream

# Pictures that are not flagged as interlaced pass unchanged.
_DEINTERLACER = "bwdif=mode=send_frame:deint=interlaced"
_DEINTERLACERS = ("bwdif", "yadif")
_PROGRESSIVE = 1  # AV_FIELD_PROGRESSIVE
_PROGRESSIVE_CODECS = frozenset({"av1", "theora", "vp8", "vp9"})
_MIXED_FORMATS = frozenset({"mpeg", "mpegts", "mxf"})  # television: programmes and advertisements
_LEAST_SIDE = 4  # pixels, for the deinterlacer

# Nits of diffuse white in HDR (ITU-R BT.2408). They become 1.0, the white of BT.709.
_WHITE_NITS = 203
_PEAK_NITS = {16: 10_000, 18: 1_000}  # by transfer function
# ffmpeg's names for the numbers of ITU-T H.273. HDR10 and HLG have BT.2020 by default.
_TRANSFERS = {1: "bt709", 16: "smpte2084", 18: "arib-std-b67"}
_PRIMARIES = {1: "bt709", 11: "smpte431", 12: "smpte432"}
_MATRICES = {1: "bt709", 10: "bt2020c"}
_HDR = (16, 18)
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
# Values that describe the brightness of HDR would be wrong for BT.709.
_WITHOUT_HDR_VALUES = (
    "sidedata=mode=delete:type=MASTERING_DISPLAY_METADATA,"
    "sidedata=mode=delete:type=CONTENT_LIGHT_LEVEL"
)
# Without them, ffmpeg before version 8 repeats pictures in MP4 at each tick of the clock, up
# to 90,000 times per second, and libx264 declares a level for as many, which players refuse.
# runner.sh replaces the first option in ffmpeg before 5.1.
_UNREPEATED = ("-fps_mode", "vfr", "-x264-params", "fps=30")
_DOLBY_VISION_TAGS = frozenset({"dav1", "dva1", "dvav", "dvh1", "dvhe"})
_DOLBY_ONLY = (
    "The pictures are Dolby Vision without colours for other players (profile 5). ffmpeg cannot map"
    " them, so the colours of the output are wrong."
)


@dataclass(frozen=True, slots=True)
class PictureFormat:
    """The properties of the pictures of a film that conversions depend on.

    Attributes:
        may_be_interlaced: Whether some pictures may be interlaced.
        transfer: Number of the transfer function.
        primaries: Number of the primaries.
        matrix: Number of the matrix coefficients.
        is_full_range: Whether black is 0 and white is the largest value.
        has_rate: Whether the source declares how many pictures it has per second.
        is_dolby_only: Whether only Dolby Vision's decoders know the colours (profile 5).
    """

    may_be_interlaced: bool = False
    transfer: int = 0
    primaries: int = 0
    matrix: int = 0
    is_full_range: bool = False
    has_rate: bool = True
    is_dolby_only: bool = False

    @property
    def is_hdr(self) -> bool:
        return self.transfer in _HDR

    @property
    def color_range(self) -> str:
        return "pc" if self.is_full_range else "tv"


SDR = PictureFormat()
_BT709 = PictureFormat(transfer=1, primaries=1, matrix=1)


def read_picture_format(stream: "VideoStream", *, container_format: str) -> PictureFormat:
    """Return the properties of the pictures of a stream, without decoding it."""
    context = stream.codec_context
    return PictureFormat(
        may_be_interlaced=_may_be_interlaced(stream, container_format),
        transfer=context.color_trc,
        primaries=context.color_primaries,
        matrix=context.colorspace,
        is_full_range=context.color_range == _FULL_RANGE,
        has_rate=stream.average_rate is not None,
        is_dolby_only=context.codec_tag in _DOLBY_VISION_TAGS and context.color_trc not in _HDR,
    )


def _may_be_interlaced(stream: "VideoStream", container_format: str) -> bool:
    """Return whether pictures may be interlaced.

    Where they cannot be, there is no deinterlacer: it drops a picture whenever the size changes,
    which happens in recordings of browsers.
    """
    context = stream.codec_context
    if context.codec.canonical_name in _PROGRESSIVE_CODECS:
        return False
    if min(stream.width, stream.height) < _LEAST_SIDE:
        return False
    return context.field_order != _PROGRESSIVE or container_format in _MIXED_FORMATS


def picture_arguments(pictures: PictureFormat, preset: Preset) -> tuple[str, ...]:
    """Return the ffmpeg arguments that pictures need in addition to those of the preset."""
    arguments: tuple[str, ...] = ()
    if option_value(preset.arguments, "-c:v") == "copy":
        return arguments
    filters = option_value(preset.arguments, "-vf")
    if pictures.may_be_interlaced and not any(name in filters for name in _DEINTERLACERS):
        arguments += ("-vf", _chain(_DEINTERLACER, filters))
    if pictures.is_hdr:
        # ffmpeg 4.2 does not pass on what the source declares.
        arguments += _color_flags(pictures)
    if not pictures.has_rate and preset.suffix == ".mp4" and "-r" not in preset.arguments:
        arguments += _UNREPEATED
    return arguments


def tone_mapped(pictures: PictureFormat, arguments: tuple[str, ...]) -> tuple[str, ...]:
    """Return all arguments of a conversion, changed to map HDR to BT.709. (): it is not HDR."""
    if not pictures.is_hdr or option_value(arguments, "-c:v") == "copy":
        return ()
    chain = _chain(option_value(arguments, "-vf"), _tone_mapping(pictures))
    others = without_options(arguments, "-vf", *_color_flags(pictures)[::2])
    return (*others, "-vf", chain, *_color_flags(_BT709))


def picture_warnings(pictures: PictureFormat, preset: Preset) -> tuple[str, ...]:
    """Return sentences about what the output cannot keep of the pictures."""
    if not pictures.is_dolby_only or "video" not in preset.streams:
        return ()
    return (_DOLBY_ONLY,)


def _tone_mapping(pictures: PictureFormat) -> str:
    """Return filters that keep colours up to 30 % of white, and compress what is brighter.

    They state what the source is, because its pictures do not always declare it.
    """
    transfer, primaries, matrix = _names(pictures)
    peak = _PEAK_NITS[pictures.transfer] / _WHITE_NITS
    return (
        f"setparams=color_primaries={primaries}:color_trc={transfer}:colorspace={matrix}"
        f":range={pictures.color_range},zscale=t=linear:npl={_WHITE_NITS},format=gbrpf32le,"
        f"zscale=p=bt709,tonemap=mobius:param=0.3:desat=0:peak={peak:.2f},"
        f"zscale=t=bt709:m=bt709:r=tv,{_WITHOUT_HDR_VALUES}"
    )


def _color_flags(pictures: PictureFormat) -> tuple[str, ...]:
    transfer, primaries, matrix = _names(pictures)
    return (
        *("-color_primaries", primaries, "-color_trc", transfer),
        *("-colorspace", matrix, "-color_range", pictures.color_range),
    )


def _names(pictures: PictureFormat) -> tuple[str, str, str]:
    """Return ffmpeg's names for the transfer function, the primaries and the matrix."""
    return (
        _TRANSFERS[pictures.transfer],
        _PRIMARIES.get(pictures.primaries, "bt2020"),
        _MATRICES.get(pictures.matrix, "bt2020nc"),
    )


def _chain(*filters: str) -> str:
    return ",".join(filter(None, filters))
