"""What a rehearsal counts: bytes that live, bytes that travel, operations, and the order of collectives."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

Ranks = tuple[int, ...]
"""Of a group of processes."""

Maker = str | Ranks
"""What has made a storage: an operation, by its name, or an all-gather among some ranks, which has filled it."""


@dataclass(frozen=True)
class Call:
    """A collective as one rank calls it.

    Attributes:
        collective: its name.
        peer: the other rank of a message; None where all ranks of the group take part.
        num_bytes: of its larger side, inputs or outputs.
    """

    collective: str
    peer: int | None
    num_bytes: int


@dataclass
class Phase:
    """What was counted since a moment.

    Attributes:
        peak: the most bytes that lived at a time.
        at_peak: those bytes by what made them.
        flops: floating-point operations of matrix products and attention.
        num_operations: of torch.
        calls: by the ranks of a group, the collectives that this rank called in it, in order.
        sums: by the ranks of a group and the collective, how many calls, and bytes of all of them.
    """

    peak: int
    at_peak: Counter[Maker]
    flops: int = 0
    num_operations: int = 0
    calls: dict[Ranks, list[Call]] = field(default_factory=dict)
    sums: dict[tuple[Ranks, str], tuple[int, int]] = field(default_factory=dict)

    def with_more(self, times: int, shorter: "Phase") -> "Phase":
        """A phase with more of what this one has and a shorter one has not, so many times; its peak stays."""
        more = {}
        for key, (calls, num_bytes) in self.sums.items():
            fewer, less = shorter.sums.get(key, (0, 0))
            more[key] = calls + times * (calls - fewer), num_bytes + times * (num_bytes - less)
        return replace(
            self,
            flops=self.flops + times * (self.flops - shorter.flops),
            num_operations=self.num_operations + times * (self.num_operations - shorter.num_operations),
            sums=more,
        )


class Ledger:
    """Counts for one rank; `parallel.megatron.watched` tells it all.

    Attributes:
        total: bytes that live now.
        by_maker: the same by what made them.
        phase: what was counted since `begin`.
    """

    def __init__(self) -> None:
        self._live: dict[int, tuple[int, Maker]] = {}
        self.by_maker: Counter[Maker] = Counter()
        self.total = 0
        self.begin()

    def begin(self) -> None:
        """A phase begins."""
        self.phase = Phase(self.total, Counter(self.by_maker))

    def lives(self, key: int, num_bytes: int, maker: str) -> None:
        """A storage has come to life."""
        self._live[key] = num_bytes, maker
        self.by_maker[maker] += num_bytes
        self.total += num_bytes
        self._look_at_peak()

    def dies(self, key: int) -> None:
        """A storage is gone."""
        num_bytes, maker = self._live.pop(key, (0, ""))
        self.by_maker[maker] -= num_bytes
        self.total -= num_bytes

    def computes(self, num_flops: int) -> None:
        """An operation is done."""
        self.phase.num_operations += 1
        self.phase.flops += num_flops

    def communicates(
        self, collective: str, ranks: Ranks, peer: int | None, num_bytes: int, outputs: Sequence[int]
    ) -> None:
        """A collective is called."""
        self.phase.calls.setdefault(ranks, []).append(Call(collective, peer, num_bytes))
        calls, total = self.phase.sums.get((ranks, collective), (0, 0))
        self.phase.sums[ranks, collective] = calls + 1, total + num_bytes
        if "allgather" in collective.replace("_", ""):
            for key in self._live.keys() & set(outputs):
                size, maker = self._live[key]
                self._live[key] = size, ranks
                self.by_maker.update({maker: -size})
                self.by_maker.update({ranks: size})
            self._look_at_peak()

    def _look_at_peak(self) -> None:
        if self.total >= self.phase.peak:
            self.phase.peak, self.phase.at_peak = self.total, Counter(self.by_maker)
