"""How pictures look in outputs, on each version of ffmpeg."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import pytest
from ffmpegs import EACH
from films import combing, patches, pictures
from runner_node import Node

from tasks.media.pictures import PictureFormat, picture_arguments, picture_warnings
from tasks.media.preferred import preferred_arguments
from tasks.media.presets import PRESETS, Preset, preset_for
from tasks.media.probe import probe
from tasks.media.source_arguments import conversion_warnings, source_arguments
from tasks.models import Extent

Film = Callable[..., Path]
Nodes = Callable[[Path], Node]
MP4, WEBM = PRESETS["mp4-720p"], PRESETS["webm"]
INTERLACED = (
    "-f lavfi -i color=size=96x64:rate=20:duration=1"
    " -vf geq=lum='200*gt(sin((X+8*N)/6)\\,0)':cb=128:cr=128,tinterlace=interleave_top,setfield=tff"
    " -pix_fmt yuv420p -flags +ildct+ilme -c:v"
)
PROGRESSIVE = "-f lavfi -i testsrc2=size=96x64:rate=10:duration=1 -pix_fmt yuv420p -c:v"
# A browser notes when it drew each picture, in milliseconds.
RECORDED = (
    "-f lavfi -i testsrc2=size=320x240:rate=30:duration=1"
    " -vf settb=1/1000,setpts=N/30*1000+floor(random(0)*12)"
    " -fps_mode passthrough -enc_time_base 1/1000 -c:v libvpx"
)
COLOURS = ("0x808080", "0x800000", "0x008000", "0x000080", "0x404040", "0xffffff")
PATCHES = (
    *(f"-f lavfi -i color={colour}:size=32x32:rate=10:duration=0.2" for colour in COLOURS),
    "-filter_complex",
    "[0][1][2][3][4][5]hstack=6,scale=out_color_matrix=bt709:out_range=tv,format=yuv444p,setparams",
)
PATCHES_RECIPE = (
    f"{' '.join(PATCHES)}=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
)
SDR = f"{PATCHES_RECIPE} -c:v ffv1"
BT709 = (1, 1, 1, 1)
HDR_ENCODERS = {"a.mkv": "ffv1", "a.ts": "libx264 -preset ultrafast -crf 4"}
# The element of Matroska with the length of pictures, and one of the same size that means nothing.
DEFAULT_DURATION, VOID = re.compile(rb"\x23\xe3\x83\x84....", re.DOTALL), b"\xec\x86" + bytes(6)


def hdr(transfer: str, encoder: str) -> str:
    """Return the recipe of the patches as HDR, where white has 203 nits."""
    chain = (
        "zscale=t=linear:npl=203,format=gbrpf32le,zscale=p=bt2020,"
        f"zscale=t={transfer}:m=bt2020nc:r=tv:npl=203,format=yuv420p10le"
    )
    flags = f"-color_primaries bt2020 -color_trc {transfer} -colorspace bt2020nc -color_range tv"
    return f"{PATCHES_RECIPE},{chain} {flags} -c:v {encoder}"


@pytest.fixture(params=EACH)
def node(
    request: pytest.FixtureRequest,
    ffmpeg_of: Callable[[str], Path],
    tmp_path: Path,
    tools_folder: Path,
) -> Callable[[Path], Node]:
    """A function that makes a node with this input, for each version of ffmpeg."""
    ffmpeg = ffmpeg_of(request.param)

    def with_input(source: Path) -> Node:
        shutil.copyfile(source, tmp_path / "input")
        return Node(tmp_path, f"{ffmpeg}:{tools_folder}")

    return with_input


def converted(node: Node, preset: Preset = MP4, **settings: str) -> Path:
    """Convert the input of the node, and return the output."""
    result = node.convert(preset, **settings)
    assert result.status == 0, result.stderr
    return node.folder / f"output{preset.suffix}"


def colour_flags(path: Path) -> tuple[int, int, int, int]:
    frame = pictures(path)[0]
    return frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range


@pytest.mark.parametrize(
    ("name", "encoder", "preset"),
    [
        ("a.mpg", "mpeg2video", MP4),
        ("a.mkv", "libx264 -bf 0", MP4),
        ("a.avi", "mpeg4", MP4),
        ("a.mpg", "mpeg2video", WEBM),
    ],
)
def test_interlaced_pictures_become_as_many_progressive_ones(
    node: Nodes, film: Film, name: str, encoder: str, preset: Preset
) -> None:
    source = film(name, f"{INTERLACED} {encoder}")
    before, after = pictures(source), pictures(converted(node(source), preset))
    assert all(frame.interlaced_frame for frame in before)
    assert not any(frame.interlaced_frame for frame in after)
    assert [frame.time for frame in after] == pytest.approx([n / 10 for n in range(10)])
    assert combing(after[5]) < combing(before[5]) / 2


def test_the_deinterlacer_keeps_progressive_pictures_as_they_are(node: Nodes, film: Film) -> None:
    source = film("a.ts", f"{PROGRESSIVE} libx264")
    assert "bwdif" in " ".join(source_arguments(probe(str(source)), MP4))
    made = node(source)
    with_filter = luma(converted(made))
    plain = made.run(*MP4.arguments, output="output.mp4", sound=None, picture=Extent(0, 1))
    assert plain.status == 0, plain.stderr
    assert luma(made.folder / "output.mp4") == with_filter
    assert len(with_filter) == 10


def luma(path: Path) -> list[bytes]:
    return [bytes(frame.planes[0]) for frame in pictures(path)]


@pytest.mark.parametrize(
    ("name", "encoder", "expected"),
    [
        ("a.mp4", "libx264", False),
        ("a.webm", "libvpx", False),
        ("a.mpg", "mpeg2video", True),  # television can change
        ("a.avi", "mpeg4", True),  # its header does not tell
        ("a.mp4", "libx264 -s 2x2", False),
    ],
)
def test_only_pictures_that_may_be_interlaced_get_a_deinterlacer(
    film: Film, name: str, encoder: str, expected: object
) -> None:
    """A deinterlacer drops a picture when the size changes, as browsers do in their recordings."""
    media = probe(str(film(name, f"{PROGRESSIVE} {encoder}")))
    assert media.pictures.may_be_interlaced is expected


def test_users_filters_follow_the_deinterlacer_and_can_replace_it() -> None:
    interlaced = PictureFormat(may_be_interlaced=True)
    own = preset_for("mp4-720p", ["-vf", "crop=w=64:h=48"])
    (chain,) = chains(picture_arguments(interlaced, own))
    assert chain.startswith("bwdif=mode=send_frame:deint=interlaced,crop=w=64:h=48,scale=")
    assert picture_arguments(interlaced, preset_for("webm", ["-vf", "yadif=mode=1"])) == ()
    assert picture_arguments(interlaced, preset_for("webm", ["-c:v", "copy"])) == ()


def chains(arguments: tuple[str, ...]) -> list[str]:
    pairs = zip(arguments[::2], arguments[1::2], strict=True)
    return [value for option, value in pairs if option == "-vf"]


@pytest.mark.parametrize(
    ("name", "transfer", "preset"),
    [
        ("a.mkv", "smpte2084", MP4),
        ("a.ts", "smpte2084", WEBM),  # only the bitstream says that it is HDR
        ("a.ts", "arib-std-b67", MP4),
    ],
)
def test_hdr_becomes_bt709_with_the_colours_of_the_original(
    node: Nodes, film: Film, name: str, transfer: str, preset: Preset
) -> None:
    """White of 203 nits becomes darker, to leave room for what is brighter."""
    original = patches(film("sdr.mkv", SDR), columns=6)
    output = converted(node(film(name, hdr(transfer, HDR_ENCODERS[name]))), preset)
    assert colour_flags(output) == BT709
    for found, expected in zip(patches(output, columns=6)[:5], original[:5], strict=True):
        assert found == pytest.approx(expected, abs=8)
    white = patches(output, columns=6)[5]
    assert white[0] == pytest.approx(200, abs=8)
    assert white[1:] == pytest.approx((128, 128), abs=2)


def test_hdr_is_flagged_as_hdr_if_ffmpeg_cannot_map_it(node: Nodes, film: Film) -> None:
    source = film("a.mkv", hdr("smpte2084", "ffv1"))
    lacking = "\n".join(preferred_arguments(probe(str(source)), MP4)).replace("zscale", "zimg")
    result = node(source).convert(MP4, PREFERRED_ARGUMENTS=lacking)
    assert result.status == 0, result.stderr
    output = result.folder / "output.mp4"
    assert colour_flags(output) == (9, 16, 9, 1)
    assert pictures(output)[0].format.name == "yuv420p"
    (warning,) = result.verified.warnings
    assert warning.startswith("The pictures are HDR. ffmpeg on the node cannot map them to BT.709")


def test_dolby_vision_without_other_colours_is_a_warning_for_films(
    clip: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "a.mp4").write_bytes(clip(".mp4").read_bytes().replace(b"avc1", b"dva1"))
    media = probe(str(tmp_path / "a.mp4"))
    (warning,) = conversion_warnings(media, MP4)
    assert warning.startswith("The pictures are Dolby Vision without colours for other players")
    assert conversion_warnings(media, PRESETS["mp3"]) == ()
    compatible = PictureFormat(transfer=16)
    assert picture_warnings(compatible, MP4) == ()


@pytest.mark.parametrize("preset", [MP4, WEBM], ids=["mp4", "webm"])
def test_pictures_without_a_rate_are_not_repeated_at_each_tick_of_the_clock(
    node: Nodes, film: Film, tmp_path: Path, preset: Preset
) -> None:
    """With ffmpeg 4.2, they are repeated up to 60 times per second in MP4."""
    recorded = film("a.webm", RECORDED).read_bytes()
    assert DEFAULT_DURATION.search(recorded)
    (tmp_path / "a.webm").write_bytes(DEFAULT_DURATION.sub(VOID, recorded))
    made = node(tmp_path / "a.webm")
    before, after = pictures(tmp_path / "a.webm"), pictures(converted(made, preset))
    assert after[-1].time == pytest.approx(before[-1].time, abs=0.25)
    is_repeated = len(after) != len(before)
    assert not is_repeated or (preset is MP4 and len(after) < 60 * 1.2)
    if preset is MP4:
        with av.open(str(made.folder / "output.mp4")) as opened:
            assert opened.streams.video[0].codec_context.level <= 30


def test_a_users_rate_replaces_the_rule_for_pictures_without_a_rate() -> None:
    unknown = PictureFormat(has_rate=False)
    assert "-fps_mode" in picture_arguments(unknown, MP4)
    assert picture_arguments(unknown, preset_for("mp4-720p", ["-r", "25"])) == ()


QUADRANTS = (
    "-f lavfi -i color=0x808080:size={0}:rate=10:duration=0.2"
    " -f lavfi -i color=0xc00000:size={0}:rate=10:duration=0.2"
    " -f lavfi -i color=0x00a000:size={0}:rate=10:duration=0.2"
    " -f lavfi -i color=0x0000c0:size={0}:rate=10:duration=0.2"
    " -filter_complex [0][1]hstack[a];[2][3]hstack[b];[a][b]vstack,format=yuv444p{1}"
)


@dataclass(frozen=True)
class Shape:
    """A film of four colours, and what its pictures become."""

    name: str
    encoder: str
    size: tuple[int, int]
    quadrant: str = "48x32"
    filters: str = ""
    ratio: Fraction = Fraction(1)  # width of a pixel, if its height is 1


SHAPES = {
    "4:4:4": Shape("a.mkv", "libx264 -pix_fmt yuv444p", (96, 64)),
    "10 bits": Shape("a.mkv", "libx264 -pix_fmt yuv420p10le", (96, 64)),
    "alpha": Shape("a.mkv", "ffv1 -pix_fmt yuva420p", (96, 64)),
    "prores": Shape("a.mov", "prores_ks -pix_fmt yuv422p10le", (96, 64)),
    "odd": Shape("a.mkv", "libx264", (190, 106), "96x54", ",crop=191:107:exact=1"),
    "tall": Shape("a.mkv", "libx264 -pix_fmt yuv420p", (72, 128), "36x64"),
    "PAL": Shape("a.mpg", "mpeg2video", (96, 64), "48x32", ",setdar=16/9", Fraction(32, 27)),
    "wide pixels": Shape("a.mp4", "libx264", (96, 64), "48x32", ",setsar=4/3", Fraction(4, 3)),
    "scaled": Shape("a.mkv", "libx264", (960, 720), "720x540", ",setsar=4/3", Fraction(4, 3)),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_pictures_keep_their_colours_places_and_shape(
    node: Nodes, film: Film, shape: Shape
) -> None:
    recipe = QUADRANTS.format(shape.quadrant, shape.filters)
    source = film(shape.name, f"{recipe} -c:v {shape.encoder}")
    output = converted(node(source))
    frame = pictures(output)[0]
    assert (frame.width, frame.height, frame.format.name) == (*shape.size, "yuv420p")
    assert pixel_ratio(output) == pytest.approx(float(shape.ratio), rel=0.01)
    for found, expected in zip(quadrants(output), quadrants(source), strict=True):
        assert found == pytest.approx(expected, abs=6)


def test_a_film_of_four_pixels_is_converted(node: Nodes, film: Film) -> None:
    output = converted(node(film("a.mkv", f"{PROGRESSIVE} libx264 -s 2x2")))
    assert {(frame.width, frame.height) for frame in pictures(output)} == {(2, 2)}


def pixel_ratio(path: Path) -> float:
    with av.open(str(path)) as opened:
        return float(opened.streams.video[0].sample_aspect_ratio or 1)


def quadrants(path: Path) -> list[tuple[int, ...]]:
    return patches(path, rows=2, columns=2)


@pytest.mark.parametrize(
    ("degrees", "order"), [(90, (1, 3, 0, 2)), (180, (3, 2, 1, 0)), (270, (2, 0, 3, 1))]
)
def test_the_pictures_of_a_phone_are_upright(
    node: Nodes, film: Film, degrees: int, order: tuple[int, ...]
) -> None:
    """Ffmpeg counts the degrees of a display matrix counter-clockwise."""
    flat = film("a.mp4", f"{QUADRANTS.format('48x32', '')} -c:v libx264 -pix_fmt yuv420p")
    source = film("r.mp4", f"-display_rotation {degrees} -i {flat} -c copy")
    output = converted(node(source))
    frame = pictures(output)[0]
    assert (frame.width, frame.height) == ((96, 64) if degrees == 180 else (64, 96))
    assert frame.rotation == 0
    as_coded = quadrants(flat)
    for found, place in zip(quadrants(output), order, strict=True):
        assert found == pytest.approx(as_coded[place], abs=6)


def test_grey_pictures_stay_grey(node: Nodes, film: Film) -> None:
    output = converted(node(film("a.mkv", f"{PROGRESSIVE.replace('yuv420p', 'gray')} ffv1")))
    chroma = {tuple(patch[1:]) for patch in patches(output, rows=2, columns=2)}
    assert chroma == {(128, 128)}
