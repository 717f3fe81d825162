"""What columns become, in words, as a state keeps it: by shape, since many columns have one and names are long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def pack(shapes: Mapping[str, str], columns: Sequence[str]) -> dict[str, list[int]]:
    """Return shape -> places among `columns` of those that have it."""
    packed: dict[str, list[int]] = {}
    for index, name in enumerate(columns):
        if name in shapes:
            packed.setdefault(shapes[name], []).append(index)
    return packed


def unpack(saved: Any, columns: Sequence[str]) -> dict[str, str]:
    """Return column -> shape. Raises `ValueError` for what `pack` never returned."""
    is_right = isinstance(saved, dict) and all(
        isinstance(shape, str)
        and isinstance(indices, list)
        and all(isinstance(index, int) and not isinstance(index, bool) and 0 <= index < len(columns) for index in indices)
        for shape, indices in saved.items()
    )
    if not is_right:
        raise ValueError(f"has shapes={saved!r}, expected places of columns by shape")
    return {columns[index]: shape for shape, indices in saved.items() for index in indices}
