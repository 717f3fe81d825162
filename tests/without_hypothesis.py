"""What stands in for hypothesis where it is not installed, as on a lent GPU: modules can be read, tests by `given` are skipped aloud."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest


class _Anything:
    """A strategy, or what makes one: whatever is asked of it is another."""

    def __getattr__(self, name: str) -> _Anything:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_: Any, **__: Any) -> _Anything:
        return self

    def __getitem__(self, _: Any) -> _Anything:
        return self

    def __or__(self, _: Any) -> _Anything:
        return self


class _Strategies(types.ModuleType):
    def __getattr__(self, name: str) -> _Anything:
        return getattr(_Anything(), name)


class _Settings:
    """`settings(...)` leaves a test as it is; there are no profiles."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, test: Any) -> Any:
        return test

    @staticmethod
    def register_profile(*_: Any, **__: Any) -> None:
        pass

    load_profile = register_profile


def _given(*_: Any, **__: Any) -> Any:
    return pytest.mark.skip(reason="hypothesis is not installed: what it would draw was not tested")


def install() -> None:
    """Make `import hypothesis` find the stand-in. For a process of tests alone."""
    strategies, hypothesis = _Strategies("hypothesis.strategies"), types.ModuleType("hypothesis")
    for name, value in {"given": _given, "settings": _Settings, "HealthCheck": _Anything(), "strategies": strategies}.items():
        setattr(hypothesis, name, value)
    sys.modules.update({"hypothesis": hypothesis, "hypothesis.strategies": strategies})
