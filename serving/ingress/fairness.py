"""Weighted fair queueing between tenants: whose segment is next. Pure decisions, no clocks, no Ray.

Start-time fair queueing (Goyal, Vin and Cheng 1996), by cost: a tenant's virtual start is how much work, by
its share, it was given since its queue began; the tenant with the lowest start is next. So tenants that
always have something waiting get FLOPs by their shares, whatever their segments cost and however many they
send, and one that comes back gets no credit for the time it was away, but for one segment: two cameras that
happen to send at once do not wait for one another's turn.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

RECENT = 64
"""Segments begun that say who was given how much lately: fewer, and chance would say it."""


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """One segment that waits or runs. `cost` is its FLOPs, `service_s` the seconds that it is expected to
    occupy a lane on average, `spread_s` those that most take longer at most, `share` its tenant's weight,
    `expires` when its answer is of no more use."""

    tenant: str
    camera: str
    share: float
    cost: float
    service_s: float
    expires: float
    spread_s: float = 0.0


@dataclass(slots=True)
class _Flow:
    """What of one tenant waits, by camera, the oldest first: no camera has more than one segment here."""

    start: float
    waiting: OrderedDict[str, Work] = field(default_factory=OrderedDict)


class FairQueue:
    """The segments that wait for a lane. `recent` are those that were last taken off it."""

    def __init__(self) -> None:
        self.recent: deque[Work] = deque(maxlen=RECENT)
        self._virtual = 0.0
        self._flows: dict[str, _Flow] = {}
        self._ended: dict[str, float] = {}  # virtual start of tenants with nothing waiting, while it matters
        self._credit = 0.0  # the most that anyone was given

    def __len__(self) -> int:
        return sum(len(flow.waiting) for flow in self._flows.values())

    def __iter__(self) -> Iterator[Work]:
        for flow in self._flows.values():
            yield from flow.waiting.values()

    def count(self, tenant: str) -> int:
        flow = self._flows.get(tenant)
        return 0 if flow is None else len(flow.waiting)

    def ahead_of(self, work: Work) -> list[Work]:
        """What would be taken before this segment if it were put now and no other came, in this order."""
        trial = FairQueue()
        trial._virtual, trial._ended, trial._credit = self._virtual, dict(self._ended), self._credit
        trial._flows = {name: _Flow(flow.start, flow.waiting.copy()) for name, flow in self._flows.items()}
        trial.put(work)
        ahead: list[Work] = []
        while (found := trial.take()) is not None and found is not work:
            ahead.append(found)
        return ahead

    def put(self, work: Work) -> Work | None:
        """Queues a segment; returns the older one of the same camera, whose place it takes."""
        flow = self._flows.get(work.tenant)
        if flow is None:
            credit = work.cost / work.share
            start = max(self._virtual - credit, self._ended.pop(work.tenant, 0.0))
            self._credit = max(self._credit, credit)
            flow = self._flows[work.tenant] = _Flow(start)
        older = flow.waiting.get(work.camera)
        flow.waiting[work.camera] = work
        return older

    def next(self) -> Work | None:
        """The segment whose turn it is; None if nothing waits."""
        if not self._flows:
            return None
        flow = min(self._flows.values(), key=lambda flow: flow.start)
        return next(iter(flow.waiting.values()))

    def take(self) -> Work | None:
        """The segment whose turn it is, off the queue; None if nothing waits."""
        work = self.next()
        if work is None:
            return None
        flow = self._flows[work.tenant]
        del flow.waiting[work.camera]
        self.recent.append(work)
        self._virtual = flow.start
        flow.start += work.cost / work.share
        self._end_if_empty(work.tenant)
        return work

    def remove(self, work: Work) -> bool:
        """Takes a segment off the queue that nobody waits for any more; False if it is not there."""
        flow = self._flows.get(work.tenant)
        if flow is None or flow.waiting.get(work.camera) is not work:
            return False
        del flow.waiting[work.camera]
        self._end_if_empty(work.tenant)
        return True

    def newest_of_heaviest(self) -> Work | None:
        """The newest segment of the tenant whose waiting work is largest by its share."""
        if not self._flows:
            return None
        heaviest = max(
            self._flows.values(), key=lambda flow: sum(w.cost / w.share for w in flow.waiting.values())
        )
        return next(reversed(heaviest.waiting.values()))

    def _end_if_empty(self, tenant: str) -> None:
        if not self._flows[tenant].waiting:
            self._ended[tenant] = self._flows.pop(tenant).start
            least = self._virtual - self._credit
            self._ended = {name: start for name, start in self._ended.items() if start > least}
