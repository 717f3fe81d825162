"""A sequence of datasets read one after the other, such as days: each is an epoch of its own, so a trainer knows where one ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, final

from sparrow.errors import CheckpointError, ConfigError, DataError
from sparrow.io.dataset import Dataset
from sparrow.io.files import Paths, find_files
from sparrow.io.partitions import keys_of
from sparrow.types import Batch


@final
class Windows:
    """Windows in order, each a `Dataset` that is made when it is reached. To a trainer it is a dataset whose epochs are the windows.

    Args:
        paths: name of a window -> its files, in the order to read.
        make: makes the dataset of a window's files; the same columns for all.

    `trainer.fit(windows, epochs=len(windows))` trains on each once; `sparrow.pipelines.EvaluateNext` tests on the next after each. The
    state is the window and the position in it, so a resumed fit goes on inside of a window; windows may be appended between sessions.
    """

    num_rows: None = None

    def __init__(self, paths: Mapping[str, Paths], make: Callable[[Paths], Dataset]) -> None:
        if not paths:
            raise ConfigError("there is no window; name at least one and its files")
        self._paths, self._make = dict(paths), make
        self._names = list(paths)
        self._window = 0
        self._current: Dataset | None = None
        self._waiting: dict[str, Any] | None = None  # the state of a window that was not made yet

    @staticmethod
    def by_key(paths: Paths, key: str, make: Callable[[Paths], Dataset]) -> Windows:
        """Make a window of the files of each value of a partition key, such as `ds` of `ds=20261101/`, sorted by value.

        Raises `DataError` naming a file that is in no folder of that key.
        """
        windows: dict[str, list[str]] = {}
        for file in find_files(paths):
            value = keys_of(file.place.path).get(key)
            if value is None:
                raise DataError(
                    f"{file.path}: it is in no folder {key}=VALUE, which tells its window; name another key, or leave the file out"
                )
            windows.setdefault(value, []).append(file.path)
        return Windows({value: windows[value] for value in sorted(windows)}, make)

    def __len__(self) -> int:
        return len(self._names)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the windows, in order."""
        return tuple(self._names)

    @property
    def epoch(self) -> int:
        """Windows finished; the place of the one that `iter` continues."""
        return self._window

    @property
    def counters(self) -> dict[str, int]:
        """What the window that is read left out so far, as `Dataset.counters`."""
        return {} if self._current is None else self._current.counters

    def dataset_of(self, window: int) -> Dataset:
        """Return a dataset of the rows of a window, from its first on, apart from this one's position."""
        if not 0 <= window < len(self):
            raise ConfigError(f"there is no window {window}; there are {len(self)}, counted from 0")
        return self._make(self._paths[self._names[window]])

    def __iter__(self) -> Iterator[Batch]:
        """Yield the rest of the current window, then move to the next; nothing once all are done."""
        if self._window >= len(self):
            return
        current = self._opened()
        yield from current
        if current.epoch:
            self._window, self._current = self._window + 1, None

    def _opened(self) -> Dataset:
        if self._current is None:
            self._current = self.dataset_of(self._window)
            if self._waiting is not None:
                self._current.load_state_dict(self._waiting)
                self._waiting = None
        return self._current

    def state_dict(self) -> dict[str, Any]:
        """Return the window and the position in it. JSON-able, under 100 kB."""
        inside = self._waiting if self._current is None else self._current.state_dict()
        return {"windows": self._names[: self._window + 1][-1:], "window": self._window, "inside": inside}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue in the window of the saved state. Raises, and changes nothing, where it is none of this class or of other windows."""
        window = state.get("window") if isinstance(state, dict) else None
        if not isinstance(window, int) or isinstance(window, bool) or window < 0 or "inside" not in state or "windows" not in state:
            raise CheckpointError("the reader's state is of no sequence of windows; load a state that Windows.state_dict returned")
        if window > len(self) or (window < len(self) and state["windows"] not in ([self._names[window]], [])):
            was = (state["windows"] or ["none"])[0]
            now = self._names[window] if window < len(self) else f"there are {len(self)}"
            raise ConfigError(
                f"the reader's state is in window {window}, {was}; now {now}; give the windows it was saved with, others only after them"
            )
        inside = state["inside"]
        current = None
        if inside is not None and window < len(self):
            current = self.dataset_of(window)
            current.load_state_dict(inside)
        self._window, self._current, self._waiting = window, current, None
