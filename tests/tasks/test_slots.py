import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import a_conversion, a_pool

from tasks.media.presets import PRESETS
from tasks.models import Conversion, Extent
from tasks.parameters import Pool
from tasks.slots import (
    CHOICES_PER_VCPU,
    ENOUGH,
    SCHEDULING_SECONDS,
    crowding,
    node_seconds,
    read_vcpus,
    slots_per_vcpu,
    with_slots,
)

SIZE = "Standard_D2ds_v5"


def recordings(*, files: int = 1, minutes: float) -> list[Conversion]:
    return [a_conversion(seconds=60 * minutes)] * files


@pytest.mark.parametrize(
    ("size", "vcpus"),
    [
        (SIZE, 2),
        ("STANDARD_D16DS_V5", 16),
        ("Standard_B1ls", 1),
        ("Standard_A2m_v2", 2),
        ("Standard_F72s_v2", 72),
        ("Standard_E32-8ds_v5", 8),
        ("Standard_DS11-1_v2", 1),
        ("Standard_NC4as_T4_v3", 4),
        ("Standard_M416s_8_v2", 416),
        ("Standard_ND96isr_H100_v5", 96),
        ("Standard_D3_v2", None),
        ("Standard_DS14_v2_Promo", None),
        ("Standard_D11", None),
        ("Standard_A8", None),
        ("Standard_GS5", None),
        ("Basic_A1", None),
        ("large", None),
        ("Standard_D0s_v9", None),
    ],
)
def test_the_name_of_a_size_has_its_vcpus_unless_it_is_older_than_that_rule(
    size: str, vcpus: int | None
) -> None:
    assert read_vcpus(size) == vcpus


@pytest.mark.parametrize(
    ("conversions", "slots"),
    [
        (recordings(files=1000, minutes=0.5), 8),
        (recordings(files=100, minutes=10), 4),
        (recordings(files=100, minutes=60), 2),
        ([*recordings(minutes=240), *recordings(files=1000, minutes=0.5)], 8),
        ([*recordings(files=100, minutes=240), *recordings(minutes=0.5)], 2),
        ([], 2),
    ],
    ids=["clips", "talks", "lectures", "clips and one lecture", "lectures and one clip", "none"],
)
def test_short_files_get_more_slots_than_vcpus(conversions: list[Conversion], slots: int) -> None:
    assert with_slots(Pool(vm_size=SIZE), conversions).slots_per_node == slots


def test_films_get_one_slot_for_each_vcpu_however_short_they_are() -> None:
    film = a_conversion(preset=PRESETS["webm"], seconds=0.1, picture=Extent(0, 0.1))
    files = [film, *recordings(files=1000, minutes=0.1)]
    assert with_slots(Pool(vm_size=SIZE), files).slots_per_node == 2


@pytest.mark.parametrize(
    ("size", "slots"), [("Standard_D96ds_v5", 256), ("Standard_D11_v2", 2), ("unknown", 2)]
)
def test_no_node_gets_more_slots_than_batch_allows(size: str, slots: int) -> None:
    clips = recordings(files=1000, minutes=0.5)
    assert with_slots(Pool(vm_size=size), clips).slots_per_node == slots


def test_a_number_that_the_user_set_is_kept() -> None:
    pool = Pool(slots_per_node=3)
    assert with_slots(pool, recordings(files=1000, minutes=0.5)) == pool


@given(files=st.integers(1, 10**6), work_seconds=st.floats(0, 10**9))
def test_vcpus_have_enough_work_with_the_fewest_slots(files: int, work_seconds: float) -> None:
    slots = slots_per_vcpu(files=files, work_seconds=work_seconds)
    busy = work_seconds / (work_seconds + files * SCHEDULING_SECONDS)
    assert slots * busy >= ENOUGH or slots == max(CHOICES_PER_VCPU)
    assert slots == 1 or slots / 2 * busy < ENOUGH


@pytest.mark.parametrize(
    ("size", "slots", "files"),
    [(SIZE, 1, 1), (SIZE, 2, 1), (SIZE, 3, 2), (SIZE, 8, 4), ("?", 9, 1)],
)
def test_the_files_that_share_a_vcpu_are_rounded_up(size: str, slots: int, files: int) -> None:
    assert crowding(Pool(vm_size=size, slots_per_node=slots)) == files


@pytest.mark.parametrize(
    ("slots", "seconds"),
    [(1, 1000 * (1 + SCHEDULING_SECONDS)), (2, 500 * (1 + SCHEDULING_SECONDS)), (256, 500)],
)
def test_a_node_takes_as_long_as_its_vcpus_or_its_slots(slots: int, seconds: float) -> None:
    found = node_seconds(a_pool(slots_per_node=slots), files=1000, work_seconds=1000)
    assert math.isclose(found, seconds)


@pytest.mark.parametrize(("work_seconds", "slots"), [(14, 1), (13.9, 2), (2.34, 2), (2.3, 4)])
def test_the_page_on_pools_names_the_work_that_decides(work_seconds: float, slots: int) -> None:
    assert slots_per_vcpu(files=1, work_seconds=work_seconds) == slots
