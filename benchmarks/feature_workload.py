"""The columns of `feature_ops`: 8,192 rows, lists of 20 values on average, Zipf ids, numbers, strings; and the peers' ways with them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness import zipf_ranks
from sparrow.ops import id_map
from sparrow.types import Batch, Ragged

ROWS, MEAN_LENGTH, KEEP, DIVISOR = 8192, 20, 10, 1_000_003
BOUNDARIES = torch.linspace(-6, 6, 100, dtype=torch.float64).exp()


@dataclass(frozen=True)
class Columns:
    """offsets, ids, numbers: one a column. strings: uint8 and int64 offsets."""

    offsets: list[Tensor]
    ids: list[Tensor]
    numbers: list[Tensor]
    strings: list[tuple[Tensor, Tensor]]

    @property
    def num_values(self) -> int:
        return sum(one.numel() for one in self.ids)

    @property
    def string_bytes(self) -> int:
        return sum(values.numel() for values, _ in self.strings)

    def batch(self, kind: str) -> Batch:
        """Return the columns "c0", "c1", ... of a kind ("ids", "numbers", "strings") as lists."""
        if kind == "strings":
            return Batch.of(
                {f"c{k}": Ragged(one[0], (levels, one[1])) for k, (levels, one) in enumerate(zip(self.offsets, self.strings, strict=True))}
            )
        values = self.ids if kind == "ids" else self.numbers
        return Batch.of({f"c{k}": Ragged(one, (levels,)) for k, (levels, one) in enumerate(zip(self.offsets, values, strict=True))})


def make_columns(num_columns: int, *, strings: bool = False) -> Columns:
    generator = torch.Generator().manual_seed(5)
    columns = Columns([], [], [], [])
    for number in range(num_columns):
        lengths = torch.randint(0, 2 * MEAN_LENGTH + 1, (ROWS,), generator=generator)
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
        ranks = zipf_ranks(int(offsets[-1]), 10**9, seed=number)
        columns.offsets.append(offsets)
        columns.ids.append(id_map.mix(ranks, number))
        columns.numbers.append((2 * torch.randn(int(offsets[-1]), generator=generator)).exp())
        if strings:
            texts = [f"feat{number}_{rank}".encode() for rank in ranks.tolist()]
            ends = torch.tensor([0, *map(len, texts)]).cumsum(0)
            columns.strings.append((torch.frombuffer(bytearray(b"".join(texts)), dtype=torch.uint8), ends))
    return columns


def text_peers(columns: Columns) -> dict[str, Callable[[], Any]]:
    """Return the string hashes of peers that are installed; others are named on standard output and left out."""
    found: dict[str, Callable[[], Any]] = {}
    texts = [
        [bytes(values.numpy()[begin:end]).decode() for begin, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)]
        for values, ends in columns.strings
    ]
    polars, tensorflow = _module("polars"), _module("tensorflow")
    if polars is not None:
        series = [polars.Series(one) for one in texts]
        found["polars Series.hash"] = lambda: [one.hash(1) for one in series]
    if tensorflow is not None:
        tensors = [tensorflow.constant(one) for one in texts]
        found["tensorflow to_hash_bucket_fast"] = lambda: [tensorflow.strings.to_hash_bucket_fast(one, DIVISOR).numpy() for one in tensors]
    return found


def truncation_peers(columns: Columns) -> dict[str, Callable[[], Any]]:
    """Return peers that keep the first values of every list: fbgemm where it is installed, and torch's operators."""
    found: dict[str, Callable[[], Any]] = {
        "torch gather": lambda: [_truncated(*one) for one in zip(columns.ids, columns.offsets, strict=True)]
    }
    if _module("fbgemm_gpu") is not None:
        slice_rows = torch.ops.fbgemm.jagged_slice
        found["fbgemm jagged_slice"] = lambda: [
            slice_rows(values, lengths := offsets.diff(), torch.zeros_like(lengths), KEEP)
            for values, offsets in zip(columns.ids, columns.offsets, strict=True)
        ]
    return found


def _truncated(values: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    lengths = offsets.diff().clamp(max=KEEP)
    kept = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    index = torch.arange(int(kept[-1])) + torch.repeat_interleave(offsets[:-1] - kept[:-1], lengths)
    return values[index], kept


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as error:
        print(f"{name} left out: {type(error).__name__}: {str(error)[:100]}")
        return None
