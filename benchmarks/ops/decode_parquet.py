"""decode_parquet: row groups of 40 columns of numbers and lists, beside pyarrow reading them into Arrow memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from benchmarks.harness import Options, Result, interleaved, rate
from sparrow.io.formats.parquet_chunks import DirectColumns, chunks_of

NUM_ROWS, NUM_DENSE, NUM_LISTS = 10_000, 14, 26


def table() -> Any:
    """Return 14 columns of lists of one float or none, and 26 of lists of one id, of which there are a few thousand."""
    random = np.random.default_rng(7)

    def column(values: Any) -> Any:
        bounds = np.zeros(NUM_ROWS + 1, dtype=np.int32)
        np.cumsum(random.random(NUM_ROWS) < 0.9, out=bounds[1:])
        return pa.ListArray.from_arrays(bounds, pa.array(values[: bounds[-1]]))

    columns = {f"d{index}": column(random.random(NUM_ROWS)) for index in range(NUM_DENSE)}
    ids = random.integers(0, 1 << 40, 4000)
    columns |= {f"c{index}": column(ids[random.integers(0, 4000, NUM_ROWS)]) for index in range(NUM_LISTS)}
    return pa.table(columns)


def run(options: Options) -> Iterable[Result]:
    pa.set_cpu_count(1)
    for compression in ("none", "snappy"):
        for dictionary in (True, False):
            whole, sink = table(), pa.BufferOutputStream()
            parquet.write_table(whole, sink, compression=compression, use_dictionary=dictionary)
            source = pa.BufferReader(sink.getvalue())
            reader = parquet.ParquetFile(source)
            direct = DirectColumns.of(reader.metadata.schema, reader.schema_arrow, whole.schema.names)

            def ours(source: Any = source, reader: Any = reader, direct: DirectColumns = direct) -> Any:
                return direct.read(source, chunks_of(source, reader.metadata)[0], NUM_ROWS)

            def theirs(reader: Any = reader) -> Any:
                return reader.read_row_group(0, use_threads=False)

            assert pa.Table.from_batches([ours()]).equals(whole)
            # What a function returns the harness keeps, and memory that is kept cannot be used again, as it is from piece to piece.
            times = interleaved({"sparrow": lambda f=ours: len(f()), "pyarrow": lambda f=theirs: len(f())}, options.runs)  # type: ignore[misc]
            case = f"{'dictionary' if dictionary else 'plain'}, compression {compression}"
            yield rate(case, NUM_ROWS, times, unit="M rows/s", must_move_bytes=sink.getvalue().size + whole.nbytes)
