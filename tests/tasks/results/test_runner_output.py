from tasks.results.runner_output import printed_version


def test_a_failed_batch_task_prints_the_version_of_its_ffmpeg() -> None:
    tail = "[mov @ 0x1] error\nrunner-version: lavf 59.27.100\nrunner: the source is cut short"
    assert printed_version(tail) == "59.27.100"
    assert printed_version("runner: the source is cut short") == ""
    assert printed_version(f"runner-version: lavf {'9' * 41}") == ""
