import pytest

from tasks.media.input_limits import FORMATS
from tasks.media.suffixes import SUFFIXES, is_media


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.mp4", True), ("A.MKV", True), ("a.txt", False), ("mp4", False), ("folder.mp4/", False)],
)
def test_the_suffix_decides_what_is_media(name: str, expected: bool) -> None:  # noqa: FBT001  from a table
    assert is_media(name) is expected


def test_every_format_that_is_converted_has_suffixes() -> None:
    assert set(SUFFIXES) == set(FORMATS)
    assert all(SUFFIXES.values())


def test_a_suffix_belongs_to_one_format() -> None:
    suffixes = [suffix for each in SUFFIXES.values() for suffix in each]
    assert len(suffixes) == len(set(suffixes))
    assert all(suffix == suffix.lower() for suffix in suffixes)
