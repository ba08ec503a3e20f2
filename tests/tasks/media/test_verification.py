import pytest

from tasks.media.verification import Verified, read_marker

CLOSED = "the output continues without a pause."


def test_a_marker_states_the_length_of_a_whole_output() -> None:
    assert read_marker("seconds-7.013_lavf-59.27.100") == Verified(7.013, version="59.27.100")
    assert read_marker("seconds-7.013") == Verified(7.013)


@pytest.mark.parametrize(
    "name",
    ["", "seconds-", "seconds-nan", "seconds-1e999", "seconds--1", "stderr.txt", "seconds-1\n"],
)
def test_a_name_that_no_runner_wrote_is_no_marker(name: str) -> None:
    assert read_marker(name) is None


@pytest.mark.parametrize(
    ("words", "warnings"),
    [
        (
            "gap-3.008-4.010",
            ["The source has no sound from 3.0 s to 7.0 s; the output is silent there."],
        ),
        (
            "gap-1.000-1.000_gap-3.000-0.500_gap-4.000-0.500_gaps-9",
            ["The source has no sound in 9 places, 7.5 s in total; the output is silent there."],
        ),
        ("damaged-1.250", ["The source is damaged: 1.2 s of its sound are missing."]),
        (
            "pictures-12-250",
            ["The source is damaged: 12 of its 250 pictures cannot be decoded completely."],
        ),
        (
            "jump-6.037-3593.943_jump-9.000--6.037",
            [
                f"The clock of the source jumps forward by 3593.9 s at 6.0 s; {CLOSED}",
                f"The clock of the source jumps back by 6.0 s at 9.0 s; {CLOSED}",
            ],
        ),
        (
            "jump-1.000--1.000_jumps-7",
            ["The clock of the source jumps in 7 places; the output continues without a pause."],
        ),
        ("a-word-of-another-version", []),
    ],
)
def test_each_word_of_a_marker_becomes_a_sentence(words: str, warnings: list[str]) -> None:
    found = read_marker(f"seconds-20.000_missing-7.500_{words}_lavf-59.27.100")
    assert found == Verified(20.0, 7.5, tuple(warnings), "59.27.100")
