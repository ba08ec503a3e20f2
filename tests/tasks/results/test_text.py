import pytest

from tasks.models import FileResult
from tasks.results.text import labels, printable, printable_lines


def test_sources_of_one_name_are_labelled_with_their_paths() -> None:
    rows = [
        FileResult(path.rpartition("/")[2], preset, None, "failed", path=path)
        for path in ("/x/a.mp4", "az://media/a.mp4", "/x/b.mp4")
        for preset in ("mp3", "flac")
    ]
    assert labels(rows) == [
        *("/x/a.mp4", "/x/a.mp4"),
        *("az://media/a.mp4", "az://media/a.mp4"),
        *("b.mp4", "b.mp4"),
    ]


CONTROLS = [*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), "\u2028", "\ufeff", "\udcff"]
DIRECTIONS = map(chr, [0x200E, 0x200F, 0x061C, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])


@pytest.mark.parametrize("char", [*CONTROLS, *DIRECTIONS])
def test_what_moves_the_cursor_or_reverses_text_becomes_visible(char: str) -> None:
    assert printable(f"a{char}b") == f"a{repr(char)[1:-1]}b"
    assert printable(f"a{char}b").isascii()


@pytest.mark.parametrize("text", ["Björk [live]", "長い\u3000名前", "a\u00a0b", "שלום", "\\x1b"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_an_escaped_text_is_not_escaped_again() -> None:
    lines = printable_lines("a\x1b\nb\tc\r\n d")
    assert lines == "a\\x1b\n  b       c\\r\n d"
    assert printable_lines(lines) == lines


def test_no_further_line_can_pose_as_a_message_of_its_own() -> None:
    assert printable_lines("name\nerror: all is lost") == "name\n  error: all is lost"
