"""Guesses of the encoding of tags, measured on songs.

songs.txt has `artist|title|album` under the name of an encoding in which such songs were tagged.
"""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from tasks.media.tag_encoding import Encoding, guess_encoding

SONGS = Path(__file__).with_name("songs.txt")
TAG_SETS = ((1,), (0, 1), (0, 1, 2))  # title; artist and title; all


def tag_sets() -> Iterator[tuple[str, list[str]]]:
    """Yield an encoding, and values of one file that are not ASCII."""
    encoding = ""
    for line, chosen in product(SONGS.read_text("utf-8").splitlines(), TAG_SETS):
        if line.startswith("# "):
            encoding = line[2:]
            continue
        fields = line.split("|")
        if values := [fields[number] for number in chosen if not fields[number].isascii()]:
            yield encoding, values


def read(values: list[bytes]) -> tuple[Encoding, list[str]]:
    encoding = guess_encoding(values)
    return encoding, [encoding.read(value) for value in values]


def test_nearly_all_songs_are_read_right_and_hardly_one_is_wrong_without_a_warning() -> None:
    sets = list(tag_sets())
    results = [(values, *read([v.encode(name) for v in values])) for name, values in sets]
    wrong = [encoding for values, encoding, texts in results if texts != values]
    sure = [encoding for _, encoding, _ in results if encoding.is_sure]
    assert len(wrong) < 0.04 * len(sets)
    assert len(sure) > 0.3 * len(sets)
    assert len([encoding for encoding in wrong if encoding.is_sure]) <= 1


@pytest.mark.parametrize(
    ("texts", "encoding"),
    [
        (["Björk", "Qéèü"], "cp1252"),
        (["Zażółć gęślą jaźń"], "cp1250"),
        (["Кино", "Группа крови"], "cp1251"),
        (["长相思"], "gbk"),
        (["鄧麗君", "月亮代表我的心"], "big5"),
        (["スピッツ", "ロビンソン"], "cp932"),
        (["조용필", "돌아와요 부산항에"], "cp949"),
    ],
)
def test_short_tags_are_read_in_each_encoding(texts: list[str], encoding: str) -> None:
    assert read([text.encode(encoding) for text in texts])[1] == texts


def test_utf8_that_id3v1_cuts_within_a_letter_is_read_without_the_half_letter() -> None:
    encoding, texts = read(["Ты и я, и все наши друзья".encode()[:30]])
    assert texts == ["Ты и я, и все наши"]
    assert encoding.is_sure


def test_gbk_that_id3v1_cuts_within_a_letter_is_read_without_the_half_letter() -> None:
    title = "月亮代表我的心 月亮代表我的心月亮"
    assert read([title.encode("gbk")[:30], "邓丽君".encode("gbk")])[1] == [title[:15], "邓丽君"]


def test_one_accented_letter_at_the_end_is_not_taken_for_utf8_that_is_cut() -> None:
    assert read([b"Caf\xe9"])[1] == ["Café"]


def test_bytes_of_no_encoding_are_replaced_and_are_not_sure() -> None:
    encoding, texts = read([b"a\x98\x81\xff\xff"])
    assert encoding == Encoding(None, is_sure=False)
    assert texts == ["a" + "\N{REPLACEMENT CHARACTER}" * 4]


def test_control_characters_do_not_keep_the_encoding_from_being_found() -> None:
    text = "Кино\x00\x01\x1b Группа крови"
    assert read([text.encode("cp1251")])[1] == [text]
