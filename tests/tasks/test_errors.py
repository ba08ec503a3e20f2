import pickle

from tasks.errors import FilesFailedError, PreflightError, UsageError


def test_names_in_errors_are_escaped() -> None:
    error = UsageError("\x1b[31m\u202e.mp4 is bad.", "Rename \udcff.")
    assert str(error) == "\\x1b[31m\\u202e.mp4 is bad. Rename \\udcff."
    assert "\x1b" not in repr(error)


def test_an_error_of_several_lines_keeps_them() -> None:
    assert str(PreflightError("2 checks failed:\n  a\n  b", "Fix them.")) == (
        "2 checks failed:\n  a\n  b\nFix them."
    )


def test_an_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(FilesFailedError("1 failed.", "See the report.")))  # noqa: S301  its own
    assert str(error) == "1 failed. See the report."
