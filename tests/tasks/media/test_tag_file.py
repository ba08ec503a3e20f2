"""Tags in any encoding, from the source to the output, on each version of ffmpeg."""

import shutil
from collections.abc import Callable
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import pytest
from ffmpegs import EACH
from runner_node import Node
from tagged import encoded, with_id3v1
from tracks import Track, source_with

from tasks.media.presets import PRESETS, Choices, with_choices
from tasks.media.probe import probe
from tasks.media.source_arguments import source_arguments
from tasks.media.tag_encoding import Encoding
from tasks.media.tag_file import MOST_BYTES, Chapter, SourceTags, write_tags

Clip = Callable[..., Path]
SOUND = ("mp3", "m4a", "opus", "flac", "wav")
FILMS = ("mp4-720p", "webm")
GUESS = "The tags of the source are not UTF-8. They were read as {}, which is a guess."
SURE = Encoding("cp1252", is_sure=True)


class Written:
    """The tags of an output. Reading them fails if they are not UTF-8."""

    def __init__(self, path: Path) -> None:
        with av.open(str(path), metadata_errors="strict") as container:
            self.streams = [dict(stream.metadata) for stream in container.streams]
            self.sound = dict(container.streams.audio[0].metadata)
            self.chapters = [chapter["metadata"].get("title") for chapter in container.chapters()]
            everything = {**container.metadata, **self.sound}
        self.tags = {key.lower(): value for key, value in everything.items()}


@pytest.fixture
def write(node: Callable[..., Node], ffmpeg_of: Callable[[str], Path]) -> Callable[..., Written]:
    """A function that converts a source by a preset and returns the tags of the output."""

    def convert(source: Path | bytes, preset: str, version: str = "") -> Written:
        made = node(source)
        made = Node(made.folder, f"{ffmpeg_of(version)}:{made.path}") if version else made
        result = made.convert(PRESETS[preset])
        assert result.status == 0, result.stderr
        return Written(made.folder / f"output{PRESETS[preset].suffix}")

    return convert


def source(name: str, clip: Clip) -> Path | bytes:
    """Return a file with its title in an encoding that its format may have."""
    if name == "id3v1":
        return with_id3v1(clip, TITLES[name].encode(ENCODINGS[name]))
    tags = (("title", encoded(TITLES[name], ENCODINGS[name])),)
    return clip(f".{name}", tags=tags, cover="png" if name == "flac" else "")


ENCODINGS = {
    "wav": "cp1252",
    "avi": "gbk",
    "id3v1": "cp932",
    "flac": "cp1251",
    "ogg": "big5",
    "mp4": "cp949",
}
TITLES = {
    "wav": "Qéèü für Björk",
    "avi": "月亮代表我的心",
    "id3v1": "川の流れのように",
    "flac": "Группа крови",
    "ogg": "月亮代表我的心",
    "mp4": "돌아와요 부산항에",
}
SAMPLE = [
    *(("wav", "mp3"), ("avi", "mp4-720p"), ("id3v1", "opus")),
    *(("flac", "flac"), ("ogg", "m4a"), ("mp4", "webm")),
]
REST = [
    (name, preset)
    for name in TITLES
    for preset in (*SOUND, *(FILMS if name in ("avi", "mp4") else ()))
    if (name, preset) not in SAMPLE
]


@pytest.mark.parametrize("version", EACH)
@pytest.mark.parametrize(
    ("name", "preset"),
    [*SAMPLE, *(pytest.param(*each, marks=pytest.mark.slow) for each in REST)],
)
def test_a_title_in_an_old_encoding_is_written_as_utf8(
    write: Callable[..., Written],
    clip: Clip,
    name: str,
    preset: str,
    version: str,
) -> None:
    assert write(source(name, clip), preset, version).tags["title"] == TITLES[name]


HANDLER = (("handler_name", encoded("Schönes Lied", "cp1252")), ("language", "deu"))


@pytest.mark.parametrize("preset", ["m4a", "opus", "mp4-720p", "webm"])
def test_tags_of_the_converted_streams_are_written_as_utf8(
    write: Callable[..., Written], clip: Clip, preset: str
) -> None:
    sound = write(clip(".mp4", sound_tags=HANDLER), preset).sound
    assert {key.lower(): value for key, value in sound.items()}["handler_name"] == "Schönes Lied"
    assert sound["language"] == "deu"


def test_tags_of_all_tracks_and_subtitles_are_those_of_their_source(
    node: Callable[..., Node], tmp_path: Path
) -> None:
    (tmp_path / "a.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n")
    comment = Track(300, "eng", encoded("Über den Film", "cp1252"), "comment")
    main = Track(1200, "deu", encoded("Größe", "cp1252"), "default")
    film = source_with(tmp_path / "a.mkv", comment, main, subtitles=(tmp_path / "a.srt",))
    result = node(film).convert(with_choices(PRESETS["webm"], Choices(tracks="all")))
    assert result.status == 0, result.stderr
    picture, *sounds, text = Written(tmp_path / "output.webm").streams
    assert [(tags["language"], tags["title"]) for tags in sounds] == [
        ("deu", "Größe"),
        ("eng", "Über den Film"),
    ]
    assert "title" not in picture
    assert text["language"] == "eng"


def test_a_cover_is_kept_if_the_tags_of_streams_are_corrected(
    write: Callable[..., Written], clip: Clip
) -> None:
    made = write(clip(".mp4", sound_tags=HANDLER, cover="png"), "mp3")
    assert made.streams[1] == {"comment": "Cover (front)"}


BOOK = (encoded("Länder", "cp1252"), "Zwei")


@pytest.mark.parametrize("version", EACH)
def test_titles_of_chapters_are_written_as_utf8(
    write: Callable[..., Written], clip: Clip, version: str
) -> None:
    assert write(clip(".mp4", chapters=BOOK), "m4a", version).chapters == ["Länder", "Zwei"]


def test_chapters_and_language_are_kept_if_only_the_title_is_wrong(
    write: Callable[..., Written], clip: Clip
) -> None:
    wrong = (("title", encoded("Für Elise", "cp1252")),)
    made = write(clip(".mp4", tags=wrong, sound_tags=HANDLER[1:], chapters=("Ä", "Ö")), "m4a")
    assert made.tags["title"] == "Für Elise"
    assert made.chapters == ["Ä", "Ö"]
    assert made.sound["language"] == "deu"


def test_the_times_of_chapters_are_from_the_start_of_the_source() -> None:
    chapter = Chapter(0, 500, Fraction(1, 1000), {"title": "Länder"})
    text = write_tags(SourceTags(SURE, {}, (chapter,), are_chapters_wrong=True), ()).text
    assert text == ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=500\ntitle=Länder\n"


def test_tags_in_utf8_need_no_tag_file_and_no_warning(clip: Clip) -> None:
    media = probe(str(clip(".mp4", tags=(("title", "Qéèü 长相思"),), chapters=("Ä",))))
    assert (media.tags, media.has_stream_tags, media.has_chapters) == ("", False, False)
    assert media.warnings == ()


def test_latin1_in_id3v2_is_left_as_ffmpeg_reads_it(clip: Clip, tmp_path: Path) -> None:
    sound = clip(".mp3", muxer=(("id3v2_version", "0"),)).read_bytes()
    frame = b"\0" + "Группа".encode("cp1251")
    header = b"ID3\x03\0\0\0\0\0" + bytes([len(frame) + 10])
    (tmp_path / "a.mp3").write_bytes(
        header + b"TIT2\0\0\0" + bytes([len(frame)]) + b"\0\0" + frame + sound
    )
    media = probe(str(tmp_path / "a.mp3"))
    assert media.tags == ""
    assert media.warnings == ()


def test_a_warning_says_which_encoding_was_guessed(clip: Clip) -> None:
    song = clip(".wav", tags=(("title", encoded("长相思", "gbk")),))
    assert probe(str(song)).warnings == (GUESS.format("GBK"),)


def test_a_sure_guess_needs_no_warning(clip: Clip) -> None:
    assert probe(str(source("avi", clip))).warnings == ()


def test_bytes_of_no_encoding_are_replaced_with_a_warning(
    write: Callable[..., Written], clip: Clip
) -> None:
    song = clip(".wav", tags=(("title", "a\udc98\udc81\udcff"),))
    (warning,) = probe(str(song)).warnings
    assert warning == (
        "The tags of the source are not UTF-8, and their encoding is unknown. The output has � for"
        " what cannot be read."
    )
    assert write(song, "mp3").tags["title"] == "a���"


WRONG = ("title", encoded("Für B", "cp1252"))
HOSTILE = [
    "[STREAM]",
    "[CHAPTER]\n[STREAM]\n",
    "a=b;c#d\\e\nf",
    "\\",
    "-i /etc/passwd",
    "$(touch pwned) `touch pwned`",
    "%s%n%b\\0101",
    "a\rb\r\nc\td",
    "\x01\x1b[31m\x7f",
]


@pytest.mark.parametrize("version", EACH)
def test_hostile_tags_are_text(
    write: Callable[..., Written],
    clip: Clip,
    tmp_path: Path,
    version: str,
) -> None:
    keys = [chr(ord("a") + number) * 4 for number in range(len(HOSTILE))]
    tags = (WRONG, *zip(keys, HOSTILE, strict=True), ("[STREAM]", "x"), (";a=#", "y"))
    made = write(clip(".mkv", tags=tags, chapters=("One", "Two")), "flac", version)
    assert made.tags["title"] == "Für B"
    expected = [*HOSTILE[:-2], "a\nb\nc\td", "[31m"]
    assert [made.tags[key].rstrip(" ") for key in keys] == expected
    assert made.tags["[stream]"] == "x"
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("version", EACH)
def test_long_tags_are_cut_between_letters_with_a_warning(
    write: Callable[..., Written],
    clip: Clip,
    version: str,
) -> None:
    film = clip(".mkv", tags=(WRONG, ("lyrics", "長" * 2000), ("last", "z")))
    assert probe(str(film)).warnings[-1] == (
        "The tags of the source are too long: the output has only a part of them."
    )
    made = write(film, "flac", version)
    assert set(made.tags["lyrics"]) == {"長"}
    assert len(made.tags["lyrics"]) > 300
    assert made.tags["last"] == "z"


def test_a_tag_file_is_never_larger_than_a_batch_task_should_be() -> None:
    tags = {f"key{number}": "é" * 900 for number in range(100)}
    chapters = [Chapter(n, n + 1, Fraction(1, 10**9), {"title": "é" * 90}) for n in range(1000)]
    found = write_tags(SourceTags(SURE, tags, tuple(chapters), are_streams_wrong=True), (None,) * 9)
    assert MOST_BYTES / 2 < len(found.text.encode()) <= MOST_BYTES
    assert found.text.count("[STREAM]\n") == 9
    assert len(found.warnings) == 1


def test_no_text_of_a_source_is_in_an_argument(clip: Clip) -> None:
    canary = encoded("Für Canary", "cp1252")
    tags = (("title", canary),)
    media = probe(str(clip(".mkv", tags=tags, sound_tags=tags, chapters=(canary,), cover="png")))
    assert media.has_stream_tags
    assert media.has_chapters
    words = chain.from_iterable(source_arguments(media, preset) for preset in PRESETS.values())
    assert not [word for word in words if "Canary" in word]


def test_a_tag_file_that_an_earlier_try_left_behind_is_not_used(
    node: Callable[..., Node], clip: Clip, tmp_path: Path
) -> None:
    made = node(clip(".mp3"))
    victim = tmp_path.parent / "victim"
    victim.write_text("before")
    (made.folder / "tags").symlink_to(victim)
    assert made.run(*PRESETS["mp3"].arguments, TAGS=";FFMETADATA1\ntitle=x\n").status == 0
    assert victim.read_text() == "before"
    assert Written(made.folder / "output.mp3").tags["title"] == "x"
    shutil.copyfile(clip(".mp3"), made.folder / "input")
    assert made.run(*PRESETS["mp3"].arguments).status == 0
    assert not (made.folder / "tags").exists()
