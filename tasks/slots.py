"""Task slots: how many files a node converts in parallel, if that is left to the run.

Azure Batch takes some seconds to schedule a batch task. Its slot waits meanwhile, so short files
need more slots than a node has vCPUs.
"""

import re
from collections.abc import Sequence
from math import ceil, fsum

from tasks.media.expected_work import expected_seconds_of_work
from tasks.models import Conversion
from tasks.parameters import Pool

SCHEDULING_SECONDS = 3.5  # for a batch task; 2 to 5 s: https://github.com/Azure/Batch/issues/58
# Batch allows four. Few choices, so that runs with similar files share a warm pool.
CHOICES_PER_VCPU = (1, 2, 4)
ENOUGH = 0.8  # the share of time in which a vCPU converts
MOST_SLOTS = 256  # of a node, the limit of Batch
UNKNOWN_SIZE_SLOTS = 2  # which every VM size may have

# https://learn.microsoft.com/azure/virtual-machines/vm-naming-conventions
VCPUS = re.compile(r"standard_[a-z]+(?P<all>\d+)(-(?P<constrained>\d+))?[a-z]*(_|$)", re.IGNORECASE)
# The numbers in names of these sizes are not numbers of vCPUs: DS3_v2 has 4.
OLDER = re.compile(r"standard_(a\d+|ds?\d+(_v2)?|gs?\d+)(_promo)?", re.IGNORECASE)


def with_slots(pool: Pool, conversions: Sequence[Conversion]) -> Pool:
    """Return the pool with a number of slots, chosen for these files if the user set none."""
    slots = pool.slots_per_node or choose_slots(pool.vm_size, conversions)
    return pool.model_copy(update={"slots_per_node": slots})


def choose_slots(vm_size: str, conversions: Sequence[Conversion]) -> int:
    vcpus = read_vcpus(vm_size)
    if vcpus is None:
        return UNKNOWN_SIZE_SLOTS
    return min(vcpus * choose_per_vcpu(conversions), MOST_SLOTS)


def read_vcpus(vm_size: str) -> int | None:
    """Return the vCPUs in the name of a size, such as 2 in Standard_D2ds_v5, or None."""
    found = VCPUS.match(vm_size)
    if not found or (OLDER.fullmatch(vm_size) and not found["constrained"]):
        return None
    return int(found["constrained"] or found["all"]) or None


def choose_per_vcpu(conversions: Sequence[Conversion]) -> int:
    """Return the slots per vCPU. One for films: ffmpeg uses all vCPUs and much memory for each."""
    if not conversions or any(conversion.picture for conversion in conversions):
        return 1
    work_seconds = fsum(map(expected_seconds_of_work, conversions))
    return slots_per_vcpu(files=len(conversions), work_seconds=work_seconds)


def slots_per_vcpu(*, files: int, work_seconds: float) -> int:
    """Return the fewest slots that let a vCPU convert for four fifths of the time.

    The work of all files together decides: the time of slots that is lost is the same for each
    file, so a thousand clips need more slots even if one long recording is among them.
    """
    share = work_seconds / (work_seconds + files * SCHEDULING_SECONDS)  # of one slot
    enough = (slots for slots in CHOICES_PER_VCPU if slots * share >= ENOUGH)
    return next(enough, CHOICES_PER_VCPU[-1])


def crowding(pool: Pool) -> int:
    """Return how many files share a vCPU, rounded up. 1 if the number of vCPUs is not known."""
    vcpus = read_vcpus(pool.vm_size)
    return ceil(pool.slots_per_node / vcpus) if vcpus else 1


def node_seconds(pool: Pool, *, files: int, work_seconds: float) -> float:
    """Return how long one node takes: its vCPUs do the work, and its slots also wait for Batch."""
    slots = pool.slots_per_node
    vcpus = min(slots, read_vcpus(pool.vm_size) or slots)
    return max(work_seconds / vcpus, (work_seconds + files * SCHEDULING_SECONDS) / slots)
