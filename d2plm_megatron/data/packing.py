"""Packs: proteins end to end, up to a fixed number of tokens."""

from bisect import bisect_left, insort
from collections.abc import Sequence


def best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Groups items of the given lengths into packs of at most `capacity`, few and full.

    Best fit, longest first: each item goes where it leaves the least room. Within 11/9 of the fewest possible packs
    (Johnson 1973), and within a percent for proteins. Returns the indices of the items of each pack.
    """
    packs: list[list[int]] = []
    rooms: list[tuple[int, int]] = []  # (room left, pack), sorted
    for item in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        place = bisect_left(rooms, (lengths[item], -1))
        room, pack = rooms.pop(place) if place < len(rooms) else (capacity, len(packs))
        if pack == len(packs):
            packs.append([])
        packs[pack].append(item)
        if room > lengths[item]:
            insort(rooms, (room - lengths[item], pack))
    return packs
