from dataclasses import replace

import pytest
from records import MP3

from tasks.media.presets import PRESETS, preset_for, with_earlier_versions
from tasks.naming import (
    batch_task_id,
    conversion_key,
    is_reserved,
    key_and_attempt,
    lock_blob,
    lock_id,
    log_container,
    log_name,
    logged_task,
    memory_container,
    prefix_tag,
    read_prefix,
)
from tasks.parameters import Cleanup


def test_the_key_changes_with_content_output_and_preset() -> None:
    keys = {
        conversion_key("c0", "a.mp3", MP3),
        conversion_key("c1", "a.mp3", MP3),
        conversion_key("c0", "b.mp3", MP3),
        conversion_key("c0", "a.mp3", PRESETS["mp3-320k"]),
    }
    assert len(keys) == 4


OPTIONS = ["-ar", "44100", "-af", "volume=2"]
FIRST_KEYS = {  # of version 1 of each preset, without and with OPTIONS
    "mp3": ("919b93fddba1a500fd0cedb01462aa08", "67b5ce93980b3cb7e25093133a476df6"),
    "mp3-320k": ("eb3d330d63bfa9e4c512db590582d679", "259244d91277e375660190a4082a1796"),
    "m4a": ("aa787f689537fc7f223d387a7d014ce4", "9d8e5cd3a88922a8a64e2b4099de4913"),
    "opus": ("bc4e1eaef92f349386a6b184057a8861", "753d8a997f0b5019f2369b075c34906a"),
    "flac": ("71dc57d79ef519f262b567d2433b7b1d", "f270b5cef7e0c2ebfc98c333113b0edf"),
    "wav": ("4f25d5dee29aec91f257f086529b0331", "5062075b67ae9095446f14d018615718"),
    "mp4-720p": ("9a8505a8a5a84b2bcbec6709fe1f8404", "a871e3950b99a9343dab878300332cb5"),
    "webm": ("04d2c4d727c14387f47fbc071ef8412a", "59b9dcad4ec596f006e6c0f0e9eca069"),
}


@pytest.mark.parametrize("name", FIRST_KEYS)
def test_the_keys_of_the_first_version_of_a_preset_are_unchanged(name: str) -> None:
    """If these keys change, runs convert whole libraries again, and users pay for it."""
    found = []
    for preset in (PRESETS[name], preset_for(name, OPTIONS)):
        (first,) = (each for each in (preset, *preset.earlier) if each.version == 1)
        found.append(conversion_key("c0", f"a{preset.suffix}", first))
    assert tuple(found) == FIRST_KEYS[name], (
        "Raise the preset's version in tasks/media/presets.py, and add its arguments of version 1"
        " to _EARLIER_ARGUMENTS."
    )


def test_each_version_of_a_preset_has_its_own_keys() -> None:
    third = with_earlier_versions(replace(MP3, version=3, earlier=()), {})
    versions = (third, *third.earlier)
    assert [each.version for each in versions] == [3, 2, 1]
    assert len({conversion_key("c0", "a.mp3", each) for each in versions}) == 3


def test_a_batch_task_id_contains_the_key_and_the_attempt() -> None:
    assert key_and_attempt(batch_task_id("a-b", 2)) == ("a-b", 2)


def test_the_lock_does_not_depend_on_a_slash_after_the_prefix() -> None:
    assert lock_id("output", "talks") == lock_id("output", "talks/") != lock_id("output", "")


@pytest.mark.parametrize("name", ["abc", "input", "a" * 63, "a-" * 31 + "a", "a" * 53 + "-b"])
def test_the_containers_for_failures_and_logs_have_valid_names_of_their_own(name: str) -> None:
    made = {memory_container(name), log_container(name)}
    assert {Cleanup(container=each).container for each in made} == made
    assert len({name, *made}) == 3


def test_the_name_of_a_log_folder_proves_which_batch_task_it_is_of() -> None:
    name = log_name("k-1", "secret")
    assert logged_task(name, "secret") == "k-1"
    forged = (name.replace("k-1", "k-2"), "k-1", "k-1-", "", log_name("k-1", "another"))
    assert {logged_task(each, "secret") for each in forged} == {None}


def test_a_lock_has_no_suffix_of_an_output_or_a_source() -> None:
    name = lock_blob(lock_id("output", "talks"))
    assert is_reserved(name)
    assert "." not in name.rpartition("/")[2]


def test_a_lock_says_in_ascii_which_folder_it_locks() -> None:
    tag = prefix_tag("it's é/2024/")
    assert tag["prefix"].isascii()
    assert read_prefix(tag) == "it's é/2024"
