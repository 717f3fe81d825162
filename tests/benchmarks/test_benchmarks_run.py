"""Every benchmark of the whole system runs, at a size that says nothing about speed."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Iterator

import pytest
import torch
from benchmarks.__main__ import measure, names, parser_of
from benchmarks.harness import Result, interleaved_samples

from sparrow.ops.update_rows.rules import RULES

TINY = {
    "id_map": ["--rows", "4096", "--batch", "512"],
    "embedding_step": ["--rows", "500", "--batch", "32", "--tables", "5", "--peers", "torch,one,26", "--cells", "multi 16 adam"],
    "device_step": ["--quick", "--rows", "400"],
    "many_tables": ["--tables", "7", "--rows", "30", "--batch", "16"],
    "table_memory": ["--rows", "5000", "--dim", "4"],
    "soak": ["--minutes", "0.01", "--universe", "3000"],
}


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def results(name: str, *more: str) -> list[Result]:
    module = importlib.import_module(f"benchmarks.{name}")
    arguments = parser_of(module).parse_args([name, "--runs", "1", "--threads", "1", *TINY[name], *more])
    return list(measure(name, arguments))


@pytest.mark.parametrize("name", TINY)
def test_it_runs(name: str) -> None:
    if name in ("id_map", "embedding_step") and shutil.which("g++") is None:
        pytest.skip("its native program needs g++")
    found = results(name)
    assert name in names()
    assert found
    assert all(result.sparrow == result.sparrow for result in found)  # no NaN


@pytest.mark.parametrize("rule", ["rowwise_adagrad", "adam"])
def test_every_peer_agrees_with_float64(rule: str) -> None:
    from benchmarks.embedding_peers import PEERS, Sparrow, System
    from benchmarks.embedding_step import check

    kinds: list[type[System]] = [Sparrow, *PEERS]
    for kind in kinds:
        if rule in RULES and rule in kind.rules and not kind.missing():
            check(kind, rule)


def test_soak_sees_a_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import soak

    growing = iter(range(10**9))
    monkeypatch.setattr(soak, "resident_bytes", lambda: next(growing) * 100_000_000)
    assert results("soak")[0].met is False


def test_as_many_samples_as_asked_for() -> None:
    calls: list[str] = []
    samples = interleaved_samples({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert {name: len(taken) for name, taken in samples.items()} == {"a": 3, "b": 3}
    assert calls[:4] == ["a", "b", "a", "b"]
