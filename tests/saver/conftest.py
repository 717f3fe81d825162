import os

import pytest

from saver.dict_store import save
from saver.forks import Forks


@pytest.fixture(scope="session")
def forks():
    server = Forks()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def quick_fsync(monkeypatch):
    """No test here cuts the power, so waiting for the disk shows nothing; one test replaces this to see what is flushed, and when."""
    monkeypatch.setattr(os, "fsync", os.fstat)


@pytest.fixture
def checkpoint(tmp_path):
    """A whole checkpoint of step 5."""
    return save(tmp_path / "run", 5)
