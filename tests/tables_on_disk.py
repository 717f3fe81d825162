"""One Arrow table written in every format that is read, each by its own library: the oracle of the readers."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import ipc, orc, parquet


def write_orc(table: pa.Table, path: Path, piece_rows: int) -> None:
    # The writer ends a stripe where it has bytes enough: a column that nobody reads gives each row more than that.
    noise = random.Random(table.num_rows)
    filling = pa.array([noise.randbytes(600) for _ in range(table.num_rows)], pa.binary())
    orc.write_table(table.append_column("filling", filling), str(path), batch_size=piece_rows, stripe_size=512)


def write_parquet(table: pa.Table, path: Path, piece_rows: int) -> None:
    parquet.write_table(table, path, row_group_size=piece_rows, write_page_checksum=True)


def write_ipc_file(table: pa.Table, path: Path, piece_rows: int) -> None:
    with ipc.new_file(path, table.schema, options=ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(table, max_chunksize=piece_rows)


def write_ipc_stream(table: pa.Table, path: Path, piece_rows: int) -> None:
    with ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=piece_rows)


Writer = Callable[[pa.Table, Path, int], None]
# Formats that keep every type, by the suffix of their files.
COLUMNAR: dict[str, Writer] = {"orc": write_orc, "parquet": write_parquet, "arrow": write_ipc_file, "arrows": write_ipc_stream}


def plain(value: Any, kind: Any) -> Any:
    """What a value of a table reads: strings as bytes, null lists and strings as empty ones."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [plain(element, kind.value_type) for element in value or []]
    if isinstance(value, str):
        return value.encode()
    is_text = any(test(kind) for test in (pa.types.is_string, pa.types.is_binary, pa.types.is_large_string, pa.types.is_large_binary))
    return b"" if value is None and is_text else value


def expected_rows(tables: list[pa.Table]) -> dict[str, list[Any]]:
    """Return the rows of every column of tables end to end, as the reader hands them out."""
    schema = tables[0].schema
    return {name: [plain(v, schema.field(name).type) for t in tables for v in t.column(name).to_pylist()] for name in schema.names}
