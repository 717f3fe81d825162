"""decode_orc: stripes of 40 columns of numbers and lists, beside pyarrow reading them into Arrow memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
from pyarrow import orc

from benchmarks.harness import Options, Result, interleaved, rate
from benchmarks.ops.decode_parquet import NUM_ROWS, table
from sparrow.io.formats.orc_columns import DirectColumns
from sparrow.io.formats.orc_footer import stripes_of


def run(options: Options) -> Iterable[Result]:
    for compression in ("uncompressed", "snappy"):
        whole, sink = table(), pa.BufferOutputStream()
        orc.write_table(whole, sink, compression=compression, stripe_size=1 << 26, batch_size=NUM_ROWS)
        source = pa.BufferReader(sink.getvalue())
        reader = orc.ORCFile(source)
        direct, (stripe,) = DirectColumns.of(reader.schema, whole.schema.names), stripes_of(source)

        def ours(source: Any = source, reader: Any = reader, direct: DirectColumns = direct, stripe: Any = stripe) -> Any:
            return direct.read(source, stripe, reader.compression, reader.compression_size)

        def theirs(reader: Any = reader) -> Any:
            return reader.read_stripe(0)

        assert pa.Table.from_batches([ours()]).equals(whole)
        # What a function returns the harness keeps, and memory that is kept cannot be used again, as it is from piece to piece.
        times = interleaved({"sparrow": lambda f=ours: len(f()), "pyarrow": lambda f=theirs: len(f())}, options.runs)  # type: ignore[misc]
        case = f"10,000 rows of 40 columns, {compression}"
        yield rate(case, NUM_ROWS, times, unit="M rows/s", must_move_bytes=sink.getvalue().size + whole.nbytes)
