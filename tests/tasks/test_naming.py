from records import MP3

from tasks.media.presets import PRESETS
from tasks.naming import (
    batch_task_id,
    conversion_key,
    is_reserved,
    key_and_attempt,
    lock_blob,
    lock_id,
    prefix_tag,
    read_prefix,
)


def test_the_key_changes_with_content_output_and_preset() -> None:
    keys = {
        conversion_key("c0", "a.mp3", MP3),
        conversion_key("c1", "a.mp3", MP3),
        conversion_key("c0", "b.mp3", MP3),
        conversion_key("c0", "a.mp3", PRESETS["mp3-320k"]),
    }
    assert len(keys) == 4


def test_keys_of_earlier_versions_are_unchanged() -> None:
    """If these keys change, runs convert whole libraries again."""
    assert conversion_key("c0", "a.mp3", MP3) == "919b93fddba1a500fd0cedb01462aa08"
    assert conversion_key("c0", "a.flac", PRESETS["flac"]) == "71dc57d79ef519f262b567d2433b7b1d"


def test_a_batch_task_id_contains_the_key_and_the_attempt() -> None:
    assert key_and_attempt(batch_task_id("a-b", 2)) == ("a-b", 2)


def test_the_lock_does_not_depend_on_a_slash_after_the_prefix() -> None:
    assert lock_id("output", "talks") == lock_id("output", "talks/") != lock_id("output", "")


def test_a_lock_has_no_suffix_of_an_output_or_a_source() -> None:
    name = lock_blob(lock_id("output", "talks"))
    assert is_reserved(name)
    assert "." not in name.rpartition("/")[2]


def test_a_lock_says_in_ascii_which_folder_it_locks() -> None:
    tag = prefix_tag("it's é/2024/")
    assert tag["prefix"].isascii()
    assert read_prefix(tag) == "it's é/2024"
