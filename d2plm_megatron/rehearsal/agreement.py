"""Whether rehearsed ranks would meet: where they do not agree on a collective, a cluster hangs without a word."""

from collections.abc import Iterator, Sequence
from itertools import combinations, zip_longest

from d2plm_megatron.rehearsal.ledger import Call, Ranks
from d2plm_megatron.rehearsal.rank import RehearsedRank


def check_agreement(ranks: Sequence[RehearsedRank]) -> int:
    """Compares ranks of one job by twos: members of a group call the same in it, and every send has its receive.

    Returns how many calls were compared. Raises ValueError at the first that differs, where a cluster would hang.
    """
    compared = 0
    for one, other in combinations(ranks, 2):
        for group in one.orders.keys() | other.orders.keys():
            if {one.rank, other.rank} <= set(group):
                for of_one, of_other in _to_be_equal(one, other, group):
                    _check(one, other, group, of_one, of_other)
                    compared += len(of_one)
    return compared


def _to_be_equal(
    one: RehearsedRank, other: RehearsedRank, group: Ranks
) -> Iterator[tuple[Sequence[Call], Sequence[Call]]]:
    """What must be the same: the collectives of both; what one sends and what the other takes from it; and back."""
    yield _calls(one, group, None), _calls(other, group, None)
    yield _calls(one, group, other.rank, "send"), _calls(other, group, one.rank, "recv")
    yield _calls(one, group, other.rank, "recv"), _calls(other, group, one.rank, "send")


def _calls(found: RehearsedRank, group: Ranks, peer: int | None, collective: str = "") -> list[Call]:
    calls = found.orders.get(group, ())
    return [call for call in calls if call.peer == peer and call.collective.startswith(collective)]


def _check(
    one: RehearsedRank, other: RehearsedRank, group: Ranks, of_one: Sequence[Call], of_other: Sequence[Call]
) -> None:
    for place, (here, there) in enumerate(zip_longest(of_one, of_other), start=1):
        message = any(call is not None and call.peer is not None for call in (here, there))
        if not (here and there and here.num_bytes == there.num_bytes and (message or _same(here, there))):
            raise ValueError(
                f"ranks {one.rank} and {other.rank} would wait for each other for ever: in their {_name(one, group)} "
                f"of {len(group)} ranks, {'message' if message else 'collective'} {place} is {_told(here)} in rank "
                f"{one.rank} and {_told(there)} in rank {other.rank}"
            )


def _same(here: Call, there: Call) -> bool:
    return here.collective == there.collective


def _name(found: RehearsedRank, group: Ranks) -> str:
    return next((f"{item.group} group" for item in found.traffic if item.ranks == group), "group")


def _told(call: Call | None) -> str:
    return f"{call.collective} of {call.num_bytes:,} bytes" if call else "none"
