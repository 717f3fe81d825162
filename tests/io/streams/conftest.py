"""One broker for all tests; each test has topics of its own."""

import itertools
from collections.abc import Iterator

import pytest

from streams_support import MockKafka

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def kafka() -> Iterator[MockKafka]:
    broker = MockKafka()
    yield broker
    broker.close()


@pytest.fixture
def topic() -> str:
    return f"clicks{next(_NUMBERS)}"
