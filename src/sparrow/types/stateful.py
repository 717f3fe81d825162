"""The two methods by which anything small joins a checkpoint."""

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Stateful(Protocol):
    """State that joins a checkpoint whole: JSON values and tensors in nested dicts and lists, never rows of tables.

    It is held in memory and written with every save, so it is small: positions, counters and settings, under 100 kB. What cannot be
    is bounded and says so: a dense optimizer is as large as its slots, a metric's histogram at most 20 MiB (`AUC`).
    """

    def state_dict(self) -> dict[str, Any]:
        """Return the state after the last thing handed out."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`. Raises where it belongs to another configuration, and changes nothing then."""
        ...
