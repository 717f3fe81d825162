"""Whether a source answers, and for how long it did not."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import final


@final
class Liveness:
    """How long a source was out of reach, from when it last answered."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()
        # One attribute, so that another thread never reads half a change: seconds of stalls that ended, and when the present one began.
        self._stalls: tuple[float, float | None] = (0.0, None)

    @property
    def is_lost(self) -> bool:
        return self._stalls[1] is not None

    @property
    def seconds_since_answer(self) -> float:
        return self._clock() - self._last

    @property
    def stalled_seconds(self) -> float:
        """Seconds out of reach, those of now included."""
        ended, began = self._stalls
        return ended if began is None else ended + self._clock() - began

    def answered(self) -> None:
        """Say that the source answered just now."""
        self._last = self._clock()
        self._stalls = (self.stalled_seconds, None)

    def lost(self) -> None:
        """Say that the source does not answer: it has been out of reach since it last did."""
        ended, began = self._stalls
        self._stalls = (ended, self._last if began is None else began)
