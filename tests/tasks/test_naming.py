from records import MP3

from tasks.media.presets import PRESETS
from tasks.naming import batch_task_id, conversion_key, key_and_attempt, lock_id


def test_the_key_changes_with_content_output_and_preset() -> None:
    keys = {
        conversion_key("c0", "a.mp3", MP3),
        conversion_key("c1", "a.mp3", MP3),
        conversion_key("c0", "b.mp3", MP3),
        conversion_key("c0", "a.mp3", PRESETS["mp3-320k"]),
    }
    assert len(keys) == 4


def test_what_an_earlier_version_converted_stays_converted() -> None:
    """Keys of outputs that are out there: a change of these converts whole libraries again."""
    assert conversion_key("c0", "a.mp3", MP3) == "919b93fddba1a500fd0cedb01462aa08"
    assert conversion_key("c0", "a.flac", PRESETS["flac"]) == "71dc57d79ef519f262b567d2433b7b1d"


def test_a_batch_task_tells_its_key_and_attempt() -> None:
    assert key_and_attempt(batch_task_id("a-b", 2)) == ("a-b", 2)


def test_the_lock_is_the_same_however_the_prefix_is_written() -> None:
    assert lock_id("output", "talks") == lock_id("output", "talks/") != lock_id("output", "")
