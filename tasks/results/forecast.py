"""When a run will end, from the work that its conversions are expected to be.

The watcher counts how many conversions have started and ended, but not which. So they are replayed:
they start in the order in which they were sent, and the one that ends is the one that is due first.
What has ended shows the speed, in seconds of expected work per second and slot. At this speed, the
conversions that are left are put on the slots. Works and times are in seconds; times are those of a
clock that never jumps.
"""

import heapq
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

# Before there is evidence, the time left is not known: some conversions, or a share of the work.
LEAST_CONVERSIONS = 5
LEAST_SHARE = 0.25
LEAST_MULTIPLE = 4  # of the longest conversion left: short ones tell little of how long it takes
MOST_DOUBT = 0.07  # of what was measured: polls see a start or an end only later
LEAST_REST = 0.05  # of the time that a conversion has taken, if that is longer than expected
REQUEST_BYTES = 100_000  # that a line could send while one file, however small, is submitted
EXACT_ROUNDS = 16  # the last conversions for each slot, which are put on slots one by one


class Busy(NamedTuple):
    """A slot that converts. The one that is due first sorts first."""

    due: float
    since: float
    doubt_seconds: float  # it may have started that much later or earlier
    work: float


class Free(NamedTuple):
    """A slot that converts nothing."""

    since: float
    doubt_seconds: float


@dataclass(slots=True)
class Measured:
    """What the conversions that have ended show about the speed of a slot."""

    conversions: int = 0
    work: float = 0.0
    seconds: float = 0.0
    doubt_seconds: float = 0.0
    end_doubt_seconds: float = 0.0  # of the latest ends

    def add(self, slot: Busy, *, end: float) -> None:
        self.conversions += 1
        self.work += slot.work
        self.seconds += end - slot.since
        self.doubt_seconds += slot.doubt_seconds

    def stretch(self, times: float) -> None:
        self.seconds *= times
        self.doubt_seconds *= times
        self.end_doubt_seconds *= times


@dataclass(slots=True)
class Sending:
    """The expected work of all conversions, in the order in which they are sent.

    Attributes:
        works: One number for each: a run may have 100,000.
        uploads: Bytes to upload for each conversion of this attempt, and what a request takes.
        uploaded: Number of conversions whose wave was uploaded in this attempt.
        first: Number of conversions that earlier attempts have sent.
        earlier: Number of conversions that were sent before the last wave.
        sent: Number of conversions that were sent.
        began: When this attempt began to send.
        opened: When the first wave of this attempt was sent.
        latest: When the last wave was sent.
    """

    works: "array[float]" = field(default_factory=lambda: array("d"))
    uploads: "array[float]" = field(default_factory=lambda: array("d"))
    uploaded: int = 0
    first: int = 0
    earlier: int = 0
    sent: int = 0
    began: float = 0.0
    opened: float = 0.0
    latest: float = 0.0

    @property
    def is_closed(self) -> bool:
        return self.sent == len(self.works)

    def expect(self, works: Iterable[float], *, uploads: Iterable[int], now: float) -> None:
        del self.works[self.sent :]
        self.works.extend(works)
        self.uploads = array("d", (REQUEST_BYTES + size_bytes for size_bytes in uploads))
        self.uploaded = 0
        self.first = self.earlier = self.sent
        self.began = self.opened = self.latest = now

    def note_wave(self, works: Iterable[float], *, files: int, now: float) -> None:
        sent = array("d", works)
        if self.sent == self.first:
            self.opened = now
        self.works[self.sent : self.sent + files] = sent
        self.uploaded += files
        self.earlier, self.sent, self.latest = self.sent, self.sent + len(sent), now

    def expected_end(self) -> float:
        """Return when all will be sent, at the pace so far."""
        done, left = sum(self.uploads[: self.uploaded]), sum(self.uploads[self.uploaded :])
        return self.latest + (left * (self.latest - self.began) / done if done else 0.0)


@dataclass(slots=True)
class Forecast:
    """The replay of a run, and the time that it has left."""

    sending: Sending = field(default_factory=Sending)
    measured: Measured = field(default_factory=Measured)
    busy: list[Busy] = field(default_factory=list)
    free: list[Free] = field(default_factory=list)
    most_slots: int = 0  # at the same time
    started: int = 0
    ended: int = 0
    is_waiting: bool = False  # conversions were sent that have not started
    is_known: bool = False  # there was evidence
    observed: float = 0.0
    converting_since: float | None = None  # when this attempt was first seen to convert

    def expect(self, works: Iterable[float], *, uploads: Iterable[int], now: float) -> None:
        """Note the expected work and bytes of an attempt's conversions, in the order of sending."""
        self.sending.expect(works, uploads=uploads, now=now)
        self.observed = now
        self.converting_since = None

    def note_wave(self, works: Iterable[float], *, files: int, now: float) -> None:
        """Note that of the next `files`, those with these works were sent. Others were refused."""
        self.sending.note_wave(works, files=files, now=now)

    def observe(self, now: float, *, started: int, ended: int) -> None:
        """Note how many conversions of all attempts have started and ended."""
        ended = max(self.ended, min(ended, len(self.sending.works)))
        started = max(ended, min(started, len(self.sending.works)))
        before = self.observed
        if started > self.sending.first and self.converting_since is None:
            self.converting_since = now
        if started and not self.slots:  # nodes have booted, or were waiting for the first wave
            before = max((before + now) / 2, self.sending.opened)
        evicted, running, slots = self.started - started, len(self.busy), self.slots
        self._requeue(evicted)
        needed = max(started - ended, min(started - self.started, 1))
        self._add_slots(needed - self.slots, before, now)
        ended_now = min(ended - self.ended, self.slots)
        self._replay(before, now, started=started, ended=ended)
        if evicted > 0:  # as large a share of the slots is gone
            del self.free[: self.slots - round(slots * (started - ended) / running)]
        if ended_now:
            self.measured.end_doubt_seconds = ended_now * (now - before) / 2
        self.is_waiting = self.sending.sent > started
        self.is_known = self.is_known or self._has_evidence()
        self.observed = now

    def seconds_left(self) -> float | None:
        """Return the time left, or None if it is not known, or if evictions have left no slot."""
        if not (self.is_known and self.slots):
            return None
        if self.sending.is_closed:
            return self._converting_seconds()
        # A slow line decides when a run ends. What is sent last is converted after that.
        last_seconds = self.sending.works[-1] / self.speed
        return max(self._converting_seconds(), self._sending_seconds() + last_seconds)

    def overdue_seconds(self) -> float:
        """Return for how long the next end or wave has been expected."""
        speed = self.speed
        expected = [slot.since + slot.work / speed for slot in self.busy] if self.is_known else []
        if not self.sending.is_closed:
            expected.append(self.sending.expected_end())
        return max(0.0, self.observed - min(expected, default=self.observed))

    @property
    def slots(self) -> int:
        return len(self.busy) + len(self.free)

    @property
    def speed(self) -> float:
        """Expected work per second in a slot; 1 before anything is measured."""
        work, seconds = self.measured.work, self.measured.seconds
        if not seconds:
            return 1.0
        ages = [(slot.work, self.observed - slot.since) for slot in self.busy]
        # Those that take longer than expected count as if they ended now.
        late = [(due, age) for due, age in ages if age * work > due * seconds]
        return (work + sum(due for due, _ in late)) / (seconds + sum(age for _, age in late))

    def _converting_seconds(self) -> float:
        """Return the time left if all that is not sent yet were sent now."""
        speed = self.speed
        rest = [rest_of(slot, speed=speed, now=self.observed) for slot in self.busy]
        slots = rest + [0.0] * len(self.free)
        return last_end(slots, self.sending.works[self.started :]) / speed

    def _sending_seconds(self) -> float:
        return self.sending.expected_end() - self.observed

    def _requeue(self, count: int) -> None:
        """Return the latest conversions to the queue: evictions have ended them."""
        if count > 0:
            self.busy.sort(key=lambda slot: slot.since)
            del self.busy[-count:]
            self.free += [Free(self.observed, 0.0)] * count
            self.started -= count

    def _add_slots(self, count: int, before: float, now: float) -> None:
        slots = self.slots + max(0, count)
        if slots > self.most_slots and self.free and self.is_waiting:
            # Batch needs time to start the next ones, so the count of slots was too low.
            self.measured.stretch(slots / self.most_slots)
        self.most_slots = max(self.most_slots, slots)
        self.free += [Free(before, now - before)] * count

    def _replay(self, before: float, now: float, *, started: int, ended: int) -> None:
        speed = self.speed
        self.busy = [slot._replace(due=slot.since + slot.work / speed) for slot in self.busy]
        heapq.heapify(self.busy)
        if not self.is_waiting:  # a free slot starts what arrives, at a time that is not known
            self.free = [Free(before, now - before)] * len(self.free)
        while self.started < started or self.ended < ended:
            if self.started < started and self.free:
                self._start_next(before, now, speed=speed)
            else:
                self._end_next(before, now)

    def _start_next(self, before: float, now: float, *, speed: float) -> None:
        since, doubt_seconds = self.free.pop()
        sending = self.sending
        if self.started >= sending.earlier and max(before, since) < sending.latest < now:
            # The slot was free before the last wave was sent.
            since, doubt_seconds = sending.latest, 0.0
        work = sending.works[self.started]
        heapq.heappush(self.busy, Busy(since + work / speed, since, doubt_seconds, work))
        self.started += 1

    def _end_next(self, before: float, now: float) -> None:
        slot = heapq.heappop(self.busy)
        end = min(max(slot.due, before, slot.since), now)
        doubt_seconds = 0.0
        if is_doubtful(slot, end=end, before=before, now=now):  # measure from its end on
            doubt_seconds = max(now - before, slot.doubt_seconds if slot.since >= before else 0.0)
        else:
            self.measured.add(slot, end=end)
        self.free.append(Free(end, doubt_seconds))
        self.ended += 1

    def _has_evidence(self) -> bool:
        if self.free and self.is_waiting and self.ended < 3 * self.slots:
            # Batch needs time to start the next ones. What was measured does not contain it.
            self.measured = Measured()
        if self._waits_for_line():
            return True
        measured = self.measured
        doubt_seconds = measured.doubt_seconds + measured.end_doubt_seconds
        if not measured.seconds or doubt_seconds > MOST_DOUBT * measured.seconds:
            return False
        has_several = measured.conversions >= max(LEAST_CONVERSIONS, self.slots)
        if has_several and measured.work >= LEAST_MULTIPLE * self._longest_left():
            return True
        return measured.work >= LEAST_SHARE * sum(self.sending.works)

    def _longest_left(self) -> float:
        running = (slot.work for slot in self.busy)
        return max(chain(running, self.sending.works[self.started :]), default=0.0)

    def _waits_for_line(self) -> bool:
        """Return whether the line decides when the run ends, even if slots were half as fast."""
        enough = max(LEAST_CONVERSIONS, self.slots)
        if self.sending.is_closed or not self.slots or self.ended < enough:
            return False
        return self._sending_seconds() > 2 * self._converting_seconds()


def rest_of(slot: Busy, *, speed: float, now: float) -> float:
    """Return the work that is left in a slot."""
    done = (now - slot.since) * speed
    return max(slot.work - done, LEAST_REST * done)


def is_doubtful(slot: Busy, *, end: float, before: float, now: float) -> bool:
    """Return whether it is not known well how long a conversion took.

    If polls were not more frequent at its end than at its start, a later measurement of the slot
    would not be better.
    """
    if slot.doubt_seconds <= MOST_DOUBT * (end - slot.since):
        return False
    return slot.since >= before or now - before < slot.doubt_seconds / 2


def last_end(slots: Sequence[float], works: Sequence[float]) -> float:
    """Return when the last work ends, if each goes to the slot that is free first.

    Args:
        slots: When each slot is free.
        works: All works, in order. Only the last ones are put on slots one by one.
    """
    exact = EXACT_ROUNDS * len(slots)
    ends = filled(slots, sum(works[:-exact])) if len(works) > exact else list(slots)
    heapq.heapify(ends)
    for work in works[-exact:]:
        heapq.heapreplace(ends, ends[0] + work)
    return max(ends)


def filled(slots: Sequence[float], work: float) -> list[float]:
    """Return when each slot is free after work that can be divided at will."""
    ends = sorted(slots)
    total, count = work, 0
    while count < len(ends) and (not count or ends[count] < total / count):
        total += ends[count]
        count += 1
    return [total / count] * count + ends[count:]
