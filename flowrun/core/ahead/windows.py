"""A part of a schedule generated anew, while the rest of it stays as it is.

As the subproblems of Debels & Vanhoucke (2007, "A decomposition-based genetic algorithm for the
resource-constrained project-scheduling problem", Oper. Res. 55): of the activities in the order in which they
start, those from one place to another are taken out. They are put back, as late as it goes before what comes
after them, and then as early as it goes after what came before: forward-backward improvement of the window
alone. What comes after moves as a whole: to the left, if that made room.
"""

from __future__ import annotations

from collections.abc import Sequence

from flowrun.core.ahead.generation import place
from flowrun.core.ahead.packed import Packed


class Window:
    """Some activities of a schedule, and the rest of it, which stays.

    `ends` are in ticks, generated forward; the window has `size` activities, from the `first` to start on.
    """

    def __init__(self, packed: Packed, ends: list[int], first: int, size: int) -> None:
        units = packed.by_unit()
        self.packed = packed
        self.ends = ends
        self.makespan = makespan = max(ends)
        self.starts = starts = [end - ticks for end, ticks in zip(ends, units.ticks, strict=True)]
        order = sorted(packed.forward.base, key=starts.__getitem__)
        left, right = order[:first], order[first + size :]
        self.inside = sorted(order[first : first + size])
        self.inside_backward = self.inside[::-1]  # successors first: it decides ties
        self.right = right
        self.left_profile = self.right_profile = self.right_backward = 0
        for j in left:
            self.left_profile += units.blocks[j] << starts[j]
        for j in right:
            self.right_profile += units.blocks[j] << starts[j]
            self.right_backward += units.blocks[j] << (makespan - ends[j])
        # What comes after may move by so much at most, for what came before.
        self.room = starts[right[0]] if right else makespan
        follows = [False] * packed.count
        for j in right:
            follows[j] = True
        after = packed.forward.after
        # When those start that wait for an activity and come after the window.
        self.bounds = {j: [starts[k] for k in after[j] if follows[k]] for j in order[: first + size]}
        for j in left:
            for start in self.bounds[j]:
                self.room = min(self.room, start - ends[j])
        ones = ((1 << makespan) - 1) // ((1 << packed.width) - 1)
        self.idle, self.guards = packed.idle * ones, packed.guard * ones

    def rearranged(self, keys: Sequence[float]) -> list[int] | None:
        """Ends of the schedule with the window in the order of `keys`; none if it is longer, or the same.

        A successor's key must not be smaller than that of its predecessor.
        """
        packed, makespan = self.packed, self.makespan
        ends = [makespan - start for start in self.starts]
        order = sorted(self.inside_backward, key=keys.__getitem__, reverse=True)
        place(packed, packed.backward, order, ends, self.right_backward)  # as ends from the end on
        order = sorted(self.inside, key=ends.__getitem__, reverse=True)
        ends = self.ends.copy()
        profile = place(packed, packed.forward, order, ends, self.left_profile)
        room = self.room
        for j in self.inside:
            for start in self.bounds[j]:
                room = min(room, start - ends[j])
        while room >= 0 and (profile + (self.right_profile >> room) + self.idle) & self.guards:
            room -= packed.width
        if room < 0:
            return None
        for j in self.right:
            ends[j] -= room
        return ends if max(ends) <= makespan and ends != self.ends else None
