"""find_chunks: the chunks of all row groups of a file, beside pyarrow's account of them, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import torch
from pyarrow import parquet

from benchmarks.harness import Options, Result, interleaved, rate
from sparrow.ops.find_chunks.op import find_chunks

NUM_ROWS = 800


def run(options: Options) -> Iterable[Result]:
    for num_columns, group_rows in ((40, NUM_ROWS), (40, 100), (1000, NUM_ROWS)):
        table = pa.table({f"c{index}": pa.array([[row] for row in range(NUM_ROWS)], pa.list_(pa.int64())) for index in range(num_columns)})
        sink = pa.BufferOutputStream()
        parquet.write_table(table, sink, row_group_size=group_rows)
        data = sink.getvalue().to_pybytes()
        metadata = parquet.ParquetFile(pa.BufferReader(data)).metadata
        footer = torch.frombuffer(bytearray(data[len(data) - 8 - metadata.serialized_size : len(data) - 8]), dtype=torch.uint8)

        def theirs(metadata: Any = metadata) -> list[list[int]]:
            chunks = [
                metadata.row_group(group).column(leaf) for group in range(metadata.num_row_groups) for leaf in range(metadata.num_columns)
            ]
            return [[chunk.num_values, chunk.dictionary_page_offset, chunk.total_compressed_size] for chunk in chunks]

        def ours(footer: Any = footer, num_columns: int = num_columns) -> Any:
            return find_chunks(footer, num_columns)

        found = ours().view(-1, 4)
        assert torch.stack([found[:, 1], found[:, 2], found[:, 3] - found[:, 2]], 1).tolist() == theirs()
        times = interleaved({"sparrow": ours, "pyarrow": theirs}, options.runs)
        case = f"{metadata.num_row_groups} row groups of {num_columns} columns"
        yield rate(case, len(found), times, unit="M chunks/s", must_move_bytes=footer.numel() + 8 * found.numel())
