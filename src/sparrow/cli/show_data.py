"""What `sparrow data head` and `schema` print."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sparrow.cli.show import bytes_text
from sparrow.io.peek import FilesSchema

_CELL_CHARACTERS = 24
_MOST_DIFFERENCES = 20


def text_of(value: Any) -> str:
    """Return a value as a person reads it: bytes as the text they are, what is no text of UTF-8 as escapes."""
    if value is None:
        return "null"
    if isinstance(value, bytes):
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value.decode("utf-8", "backslashreplace"))
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {text_of(one)}" for key, one in value.items()) + "}"
    if isinstance(value, tuple):  # a pair of a map
        return ": ".join(map(text_of, value))
    if isinstance(value, list):
        return f"[{', '.join(map(text_of, value))}]"
    return str(value)


def cell_of(value: Any) -> str:
    """Return a value in at most 24 characters; of a list that does not fit, its beginning and its length."""
    text = text_of(value)
    if len(text) <= _CELL_CHARACTERS:
        return text
    end = f"…] {len(value):,}" if isinstance(value, list) else "…"
    return text[: _CELL_CHARACTERS - len(end)].rstrip(", ") + end


def json_of(value: Any) -> Any:
    """Return a value that JSON can hold: bytes as text, numbers that are none as null, times as ISO 8601."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): json_of(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [json_of(one) for one in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def print_head(rows: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    """Print rows side by side, a line a column: tables have more columns than a terminal is wide."""
    if as_json:
        for row in rows:
            print(json.dumps({name: json_of(value) for name, value in row.items()}, ensure_ascii=False, allow_nan=False))
        return
    if not rows:
        print("no rows")
        return
    console = Console()
    names = list(rows[0])
    cells = [[cell_of(row[name]) for name in names] for row in rows]
    name_width = max(map(len, names))
    first = 0
    while first < len(rows):
        # As many rows as fit beside the names, at least one.
        last, used = first, name_width + 4
        while last < len(rows) and (last == first or used + max(map(len, cells[last])) + 3 <= console.width):
            used += max(map(len, cells[last])) + 3
            last += 1
        table = Table("column", *(f"row {index}" for index in range(first, last)), show_edge=False, pad_edge=False)
        for at, name in enumerate(names):
            table.add_row(escape(name), *(escape(cells[index][at]) for index in range(first, last)))
        console.print(table, highlight=False)
        first = last
        if first < len(rows):
            console.print()


def print_schema(schema: FilesSchema, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(dataclasses.asdict(schema), indent=2, ensure_ascii=False, allow_nan=False))
        return
    console = Console(soft_wrap=True)
    files = f"{len(schema.files)} files" if len(schema.files) > 1 else schema.files[0]
    rows = "rows unknown before reading" if schema.num_rows is None else f"{schema.num_rows:,} rows"
    pieces = "" if schema.num_pieces is None else f", {schema.num_pieces:,} {schema.piece}{'s' * (schema.num_pieces != 1)}"
    size = "" if schema.num_bytes is None else f", {bytes_text(schema.num_bytes)}"
    console.print(f"{escape(files)}: {schema.format}, {rows}{pieces}{size}, {len(schema.columns)} columns", highlight=False)
    table = Table("column", "type in the file", "a Dataset makes of it", show_edge=False, pad_edge=False)
    for column in schema.columns:
        becomes = column.becomes if not column.reason else f"nothing: {column.reason}"
        table.add_row(escape(column.name), escape(column.file_type), escape(becomes))
    console.print(table, highlight=False)
    for line in schema.differences[:_MOST_DIFFERENCES]:
        console.print(f"differs: {escape(line)}", highlight=False)
    if len(schema.differences) > _MOST_DIFFERENCES:
        console.print(f"and {len(schema.differences) - _MOST_DIFFERENCES:,} more differences", highlight=False)
