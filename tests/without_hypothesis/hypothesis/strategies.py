"""Strategies that draw nothing."""

from __future__ import annotations

from typing import Any


class Anything:
    """A strategy, or what makes one: whatever is asked of it is another."""

    def __getattr__(self, name: str) -> Anything:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_: Any, **__: Any) -> Anything:
        return self

    def __getitem__(self, _: Any) -> Anything:
        return self

    def __or__(self, _: Any) -> Anything:
        return self


def __getattr__(name: str) -> Anything:
    return getattr(Anything(), name)
