"""farm_hash: short strings and integers, beside a loop of Python's hash over the same bytes."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from benchmarks.harness import Options, Result, interleaved, rate
from sparrow.ops.farm_hash import reference
from sparrow.ops.farm_hash.op import farm_hash, farm_hash_ints

NUM_STRINGS = 1 << 20


def run(options: Options) -> Iterable[Result]:
    strings = [f"user_{index * 7919}".encode() for index in range(NUM_STRINGS)]
    values = torch.frombuffer(bytearray(b"".join(strings)), dtype=torch.uint8)
    offsets = torch.tensor([0, *map(len, strings)]).cumsum(0)
    assert farm_hash(values, offsets)[:100].tolist() == [reference.fingerprint(string) for string in strings[:100]]
    copies = [bytes(string) for string in strings]
    functions = {"sparrow": lambda: farm_hash(values, offsets), "Python hash": lambda: [hash(b"%b" % string) for string in copies]}
    moved = values.numel() + 16 * NUM_STRINGS
    yield rate("a million strings of 12 bytes", NUM_STRINGS, interleaved(functions, options.runs), must_move_bytes=moved)
    ids = torch.arange(NUM_STRINGS)
    functions = {"sparrow": lambda: farm_hash_ints(ids)}
    yield rate("a million integers", NUM_STRINGS, interleaved(functions, options.runs), must_move_bytes=16 * NUM_STRINGS)
