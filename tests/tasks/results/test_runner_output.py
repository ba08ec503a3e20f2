import pytest

from tasks.results.runner_output import Marker, printed_version, read_marker


@pytest.mark.parametrize(
    ("name", "marker"),
    [
        ("seconds-7.013", Marker(7.013, "")),
        ("seconds-7", Marker(7.0, "")),
        ("seconds-7.013_lavf-59.27.100", Marker(7.013, "59.27.100")),
        ("seconds-7.013_missing-1.5_lavf-59.27.100_new-word", Marker(7.013, "59.27.100")),
        ("seconds-", Marker(None, "")),
        ("seconds-nan_lavf-59", Marker(None, "59")),
        ("seconds-1e999", Marker(None, "")),
        ("seconds--1_lavf", Marker(None, "")),
        ("", Marker(None, "")),
    ],
)
def test_a_marker_states_its_values_in_any_order_and_may_lack_some(
    name: str, marker: Marker
) -> None:
    assert read_marker(name) == marker


def test_a_failed_batch_task_prints_the_version_of_its_ffmpeg() -> None:
    tail = "[mov @ 0x1] error\nrunner-version: lavf 59.27.100\nrunner: the source is cut short"
    assert printed_version(tail) == "59.27.100"
    assert printed_version("runner: the source is cut short") == ""
    assert printed_version(f"runner-version: lavf {'9' * 41}") == ""
