"""map_values: one call over all columns, beside torch (and polars and tensorflow, where installed) called once a column.

30 columns of 8,192 lists of twenty on average, and 200 columns of a tenth of that; a chain of five steps beside its slowest one alone.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness import Options, Result, compared, interleaved, rate, zipf_ranks
from sparrow.ops.hashes import fingerprint
from sparrow.ops.map_values.op import map_values
from sparrow.ops.map_values.packed import Packed
from sparrow.ops.map_values.steps import (
    Bucketize,
    Chain,
    Clip,
    Fill,
    HashBytes,
    HashInts,
    Log1p,
    Mod,
    Source,
    Step,
    VocabularyOfInts,
    ZScore,
    pack,
)

NUM_COLUMNS, COLUMN_SIZE, MANY_COLUMNS = 30, 8192 * 20, 200
DIVISOR = 1_000_003
BOUNDARIES = tuple(torch.linspace(-6, 6, 100, dtype=torch.float64).exp().float().tolist())
CHAIN = (Fill(0.0), Log1p(), ZScore(0.5, 2.0), Clip(-3.0, 3.0), Bucketize(tuple(torch.linspace(-1, 1, 100, dtype=torch.float64).tolist())))


def run(options: Options) -> Iterable[Result]:
    if options.quick or options.device != "cpu":
        yield from _on_a_device(options)
        return
    generator = torch.Generator().manual_seed(4)
    numbers = [torch.randn(COLUMN_SIZE, generator=generator).mul(2).exp() for _ in range(NUM_COLUMNS)]
    ids = [torch.randint(0, 2**63 - 1, (COLUMN_SIZE,), generator=generator) for _ in range(NUM_COLUMNS)]
    yield from _buckets(options, numbers)
    yield from _remainders(options, ids)
    yield from _strings(options)
    yield from _chains(options, numbers)


def _mapped(columns: list[Tensor], steps: tuple[Step, ...], offsets: list[Tensor] | None = None) -> Callable[[], list[Tensor]]:
    """Return a call of the operator that runs `steps` over each column; what it returns is dropped, so that memory can be used again."""
    source = Source.VALUES if offsets is None else Source.BYTES
    chains = [Chain(number, None if offsets is None else number, source, steps) for number in range(len(columns))]
    packed = pack(chains, [column.dtype for column in columns])
    return lambda: map_values(columns, offsets or [], packed)[0]


def _dropped(call: Callable[[], Any]) -> Callable[[], None]:
    def run_once() -> None:
        call()

    return run_once


def _small(columns: list[Tensor]) -> list[Tensor]:
    return [columns[number % len(columns)][: COLUMN_SIZE // 10].clone() for number in range(MANY_COLUMNS)]


def _buckets(options: Options, numbers: list[Tensor]) -> Iterable[Result]:
    boundaries = torch.tensor(BOUNDARIES)
    for columns in (numbers, _small(numbers)):
        ours = _mapped(columns, (Bucketize(BOUNDARIES),))
        assert all(torch.equal(got, torch.bucketize(column, boundaries, right=True)) for got, column in zip(ours(), columns, strict=True))

        def by_torch(given: list[Tensor] = columns) -> None:
            for column in given:
                torch.bucketize(column, boundaries, right=True)

        yield _result(options, f"{len(columns)} float32 columns, 100 boundaries", columns, ours, {"torch.bucketize": by_torch}, 12)


def _remainders(options: Options, ids: list[Tensor]) -> Iterable[Result]:
    for columns in (ids, _small(ids)):
        ours = _mapped(columns, (Mod(DIVISOR),))
        assert all(torch.equal(got, column.remainder(DIVISOR)) for got, column in zip(ours(), columns, strict=True))

        def by_torch(given: list[Tensor] = columns) -> None:
            for column in given:
                column.remainder(DIVISOR)

        yield _result(options, f"{len(columns)} id columns modulo a million", columns, ours, {"torch.remainder": by_torch}, 16)


def _strings(options: Options) -> Iterable[Result]:
    texts, cuts, strings = [], [], []
    for number in range(NUM_COLUMNS // 3):  # making them takes longest
        ranks = zipf_ranks(COLUMN_SIZE, 10**9, seed=number)
        strings.append([b"feat%d_%d" % (number, rank) for rank in ranks.tolist()])
        texts.append(torch.frombuffer(bytearray(b"".join(strings[-1])), dtype=torch.uint8))
        cuts.append(torch.tensor([0, *map(len, strings[-1])]).cumsum(0))
    ours = _mapped(texts, (HashBytes("farm"),), cuts)
    assert ours()[0][:100].tolist() == [fingerprint(string) for string in strings[0][:100]]
    num_bytes = sum(text.numel() for text in texts) // (len(texts) * COLUMN_SIZE) + 16
    peers = {name: make(strings, options.threads) for name, make in _HASHES.items() if _installed(name.split(".")[0])}
    for name in _HASHES.keys() - peers.keys():
        print(f"{name} is not installed: left out")
    columns = [cut[1:] for cut in cuts]
    case = f"{len(texts)} columns of strings of 12 bytes"
    for name, peer in peers.items():
        yield _result(options, case, columns, ours, {name: peer}, num_bytes)
    if not peers:
        yield _result(options, case, columns, ours, {}, num_bytes)


def _polars(strings: list[list[bytes]], threads: int) -> Callable[[], None]:
    os.environ.setdefault("POLARS_MAX_THREADS", str(threads))  # read at the first import
    polars = importlib.import_module("polars")
    series = [polars.Series([string.decode() for string in column]) for column in strings]
    return lambda: [column.hash(1) for column in series].clear()


def _tensorflow(strings: list[list[bytes]], threads: int) -> Callable[[], None]:
    tensorflow = importlib.import_module("tensorflow")
    tensors = [tensorflow.constant(column) for column in strings]
    return lambda: [tensorflow.strings.to_hash_bucket_fast(column, DIVISOR) for column in tensors].clear()


_HASHES = {"polars.Series.hash": _polars, "tensorflow.strings.to_hash_bucket_fast": _tensorflow}


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _chains(options: Options, numbers: list[Tensor]) -> Iterable[Result]:
    """A chain of five steps beside the slowest of them alone: below 1 where fusing cannot help, and never far below."""
    alone = interleaved({step.name: _dropped(_mapped(numbers, (step,))) for step in CHAIN}, options.runs)
    slowest = max(alone, key=lambda name: alone[name])
    ours = _mapped(numbers, CHAIN)
    step = next(step for step in CHAIN if step.name == slowest)
    yield _result(options, "a chain of five steps", numbers, ours, {f"{slowest} alone": _dropped(_mapped(numbers, (step,)))}, 12)


def _result(
    options: Options, case: str, columns: list[Tensor], ours: Callable[[], Any], peers: dict[str, Callable[[], None]], bytes_a_value: int
) -> Result:
    num_values = sum(column.numel() for column in columns)
    seconds = interleaved({"sparrow": _dropped(ours), **peers}, options.runs)
    return rate(case, num_values, seconds, must_move_bytes=bytes_a_value * num_values)


def values_of(options: Options) -> int:
    """Return the values a column has on a GPU."""
    return 1 << (7 if options.quick else 17)


def _on_a_device(options: Options) -> Iterable[Result]:
    """Columns of ids and of numbers, beside one step that torch has."""
    num_values = values_of(options)
    generator = torch.Generator().manual_seed(4)
    ids = [torch.randint(0, 2**63 - 1, (num_values,), generator=generator).to(options.device) for _ in range(NUM_COLUMNS)]
    numbers = [torch.randn(num_values, generator=generator).mul(2).exp().to(options.device) for _ in range(NUM_COLUMNS)]
    boundaries = torch.tensor(BOUNDARIES, device=options.device)
    keys = tuple(range(0, 3000, 3))
    cases: dict[str, tuple[list[Tensor], Step | tuple[Step, ...], Callable[[Tensor], Tensor] | None]] = {
        "mod": (ids, Mod(DIVISOR), lambda x: x.remainder(DIVISOR)),
        "farm hash of ids": (ids, HashInts("farm"), None),
        "vocabulary of 1,000 ids": ([x % 3000 for x in ids], VocabularyOfInts(keys, oov_index=-1), None),
        "log1p": (numbers, Log1p(), torch.log1p),
        "100 boundaries": (numbers, Bucketize(BOUNDARIES), lambda x: torch.bucketize(x, boundaries, right=True)),
        "a chain of five steps": (numbers, CHAIN, None),
    }
    for case, (columns, steps, by_torch) in cases.items():
        chain = steps if isinstance(steps, tuple) else (steps,)
        packed = pack([Chain(place, steps=chain) for place in range(NUM_COLUMNS)], [columns[0].dtype] * NUM_COLUMNS).to(options.device)
        functions: dict[str, Callable[[], object]] = {"sparrow": partial(_run, columns, packed)}
        if by_torch is not None:
            functions["torch, column by column"] = partial(_each, by_torch, columns)
        moved = NUM_COLUMNS * num_values * (columns[0].element_size() + packed.dtypes[0].itemsize)
        yield compared(options, case, NUM_COLUMNS * num_values, functions, must_move_bytes=moved)


def _run(columns: list[Tensor], packed: Packed) -> Tensor:
    """Run the chains. What is returned is kept: the counts alone, so that memory can be used again."""
    return map_values(columns, [], packed)[1]


def _each(function: Callable[[Tensor], Tensor], columns: list[Tensor]) -> None:
    for column in columns:
        function(column)
