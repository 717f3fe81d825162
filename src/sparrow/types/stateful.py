"""The two methods by which anything small joins a checkpoint."""

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Stateful(Protocol):
    """Small state (positions, counters, settings): JSON values and tensors in nested dicts and lists, never rows of tables."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state after the last thing handed out; under 100 kB."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`. Raises where it belongs to another configuration, and changes nothing then."""
        ...
