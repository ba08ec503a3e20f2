from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import NOW, ONE, a_conversion, a_request, a_source

from tasks import failure_memory
from tasks.failure_memory import (
    LIFE,
    LONGEST_REASON,
    Entry,
    Lesson,
    Memory,
    Tools,
    ffmpeg_origin,
    shortened,
    split_known,
    updated,
)
from tasks.models import KnownFailure
from tasks.parameters import Node, Pool

TOOLS = Tools(runner="r1", origin="ubuntu apt")
OTHER = a_conversion(a_source("b.mp4"), content="c1")


def an_entry(**values: Any) -> Entry:
    given_values = {"reason": "the source is cut short", "failed_at": NOW, "runner": "r1"}
    return Entry(**(given_values | {"origin": "ubuntu apt", "ffmpeg": "59.27.100"} | values))


def a_memory(**values: Any) -> Memory:
    """Return a memory in which ONE has failed."""
    return Memory(failures={ONE.key: an_entry(**values)})


def a_lesson(**values: Any) -> Lesson:
    return Lesson(**({"tools": TOOLS, "at": NOW, "failures": {}} | values))


def test_a_source_that_failed_is_not_tried_again_and_others_are() -> None:
    known, untried = split_known((ONE, OTHER), a_memory(), TOOLS, now=NOW + timedelta(days=1))
    assert known == (KnownFailure(ONE, "the source is cut short", NOW),)
    assert untried == (OTHER,)


@pytest.mark.parametrize(
    ("tools", "age"),
    [
        (replace(TOOLS, runner="r2"), timedelta()),
        (replace(TOOLS, origin="debian apt"), timedelta()),
        (TOOLS, LIFE),
    ],
    ids=["another runner", "ffmpeg from elsewhere", "after thirty days"],
)
def test_a_source_is_tried_again_with(tools: Tools, age: timedelta) -> None:
    assert split_known((ONE,), a_memory(), tools, now=NOW + age) == ((), (ONE,))
    assert updated(a_memory(runner="r0"), a_lesson(at=NOW + age)) == Memory()


def test_an_entry_is_forgotten_once_nodes_have_another_ffmpeg() -> None:
    newer = a_lesson(ffmpeg_versions=frozenset({"60.3.100"}))
    assert updated(a_memory(), newer) == Memory()
    assert updated(a_memory(ffmpeg=""), newer) == a_memory(ffmpeg="")  # it may be the same
    assert updated(a_memory(origin="pool p"), newer) == a_memory(origin="pool p")


def test_an_entry_stays_while_some_nodes_have_its_ffmpeg_or_none_is_seen() -> None:
    mixed = a_lesson(ffmpeg_versions=frozenset({"60.3.100", "59.27.100"}))
    assert updated(a_memory(), mixed) == updated(a_memory(), a_lesson()) == a_memory()


def test_a_converted_source_is_forgotten_and_a_new_failure_replaces_the_old() -> None:
    assert updated(a_memory(), a_lesson(converted={ONE.key})) == Memory()
    again = an_entry(reason="it is worse")
    lesson = a_lesson(converted={ONE.key}, failures={ONE.key: again})  # forced, an old output
    assert updated(a_memory(), lesson) == Memory(failures={ONE.key: again})


def test_the_memory_keeps_the_newest_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failure_memory, "MOST_ENTRIES", 2)
    entries = {f"k{n}": an_entry(failed_at=NOW + timedelta(seconds=n)) for n in range(4)}
    assert set(updated(Memory(), a_lesson(failures=entries)).failures) == {"k2", "k3"}


@given(st.text())
def test_a_remembered_reason_is_short(reason: str) -> None:
    assert len(shortened(reason)) <= LONGEST_REASON
    assert shortened(reason) == reason or len(reason) > LONGEST_REASON


def test_ffmpeg_comes_from_an_image_a_package_a_blob_or_a_shared_pool() -> None:
    assert ffmpeg_origin(a_request()) == "ubuntu apt"
    blob = Node(ffmpeg="az://tools/ffmpeg")
    assert ffmpeg_origin(a_request(node=blob)) == "ubuntu az://tools/ffmpeg"
    assert ffmpeg_origin(a_request(node=blob, pool=Pool(id="p"))) == "pool p"
