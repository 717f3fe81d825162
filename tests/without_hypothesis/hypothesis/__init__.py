"""What stands in for hypothesis where it is not installed, as on a lent GPU: modules can be read, tests by `given` are skipped aloud.

`tests/on_gpu.py` puts this folder's parent on the path there, and nothing else does.
"""

from __future__ import annotations

from typing import Any

import pytest

from hypothesis import strategies as strategies
from hypothesis.strategies import Anything

HealthCheck = Anything()


class settings:
    """`settings(...)` leaves a test as it is; there are no profiles."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, test: Any) -> Any:
        return test

    @staticmethod
    def register_profile(*_: Any, **__: Any) -> None:
        pass

    @staticmethod
    def load_profile(*_: Any, **__: Any) -> None:
        pass


def given(*_: Any, **__: Any) -> Any:
    return pytest.mark.skip(reason="hypothesis is not installed: what it would draw was not tested")
