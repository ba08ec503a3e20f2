import pytest

from tasks.media.ignored import Ignored, suffix_of


def ignored(*names: str) -> str:
    found = Ignored()
    for name in names:
        found.add_file(name)
    return str(found)


def test_the_most_frequent_suffix_comes_first() -> None:
    assert ignored("a.nfo", "b.jpg", "c.JPG", "d") == (
        "4 files: 2 .jpg, 1 .nfo, 1 without a suffix"
    )


def test_nothing_is_said_if_nothing_is_left_out() -> None:
    assert ignored() == ""


def test_rare_suffixes_are_counted_together() -> None:
    names = [f"{number}.s{number}" for number in range(40)]
    assert ignored("a.jpg", "b.jpg", *names) == (
        "42 files: 2 .jpg, 1 .s0, 1 .s1, 1 .s10, 1 .s11, 36 with 36 other suffixes"
    )
    assert ignored(*names[:6]).endswith(", 1 .s5")


def test_media_files_that_cannot_be_converted_are_named() -> None:
    names = ("a.dsf", "b.DSF", "c.tak", "d.jpg")
    assert ignored(*names) == "4 files: 2 .dsf (not supported), 1 .jpg, 1 .tak (not supported)"


def test_folders_follow_the_files() -> None:
    found = Ignored()
    found.add_hidden_file()
    for kind in ("linked folder", "hidden folder", "linked folder"):
        found.add_folder(kind)
    assert str(found) == "1 file: 1 hidden; 1 hidden folder; 2 linked folders"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.JPG", ".jpg"),
        ("a.mp4.part", ".part"),
        ("Mr. Smith", "without a suffix"),
        ("a.\x1b[31m", "without a suffix"),
        ("a.averylongsuffix", "without a suffix"),
    ],
)
def test_only_a_short_plain_suffix_counts_as_one(name: str, expected: str) -> None:
    assert suffix_of(name) == expected
