"""What `sparrow data stats` prints and writes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sparrow.cli.show_data import text_of
from sparrow.errors import DataError
from sparrow.io.stats.page import number_text, page_of, values_text
from sparrow.io.stats.scan import FilesStats

_SECONDS_BETWEEN_LINES = 2.0


@contextmanager
def show_scan_progress() -> Iterator[Callable[[int], None]]:
    """Give a function that tells, on standard error, how many rows were scanned; nothing for a scan that is over at once."""
    console = Console(stderr=True)
    began = last = time.perf_counter()

    def progress(num_rows: int) -> None:
        nonlocal last
        now = time.perf_counter()
        if now - last > _SECONDS_BETWEEN_LINES:
            last = now
            end = "\r" if console.is_terminal else "\n"
            console.print(f"{num_rows:,} rows scanned, {num_rows / (now - began):,.0f} rows/s", end=end, highlight=False)

    yield progress
    if last > began and console.is_terminal:
        console.print()


def write_page(stats: FilesStats, path: Path) -> None:
    """Write the page whole or not at all. Raises `DataError` where it cannot be written."""
    first = stats.files[0]
    title = os.path.commonpath(stats.files) if len(stats.files) > 1 and os.path.isabs(first) else first
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(page_of(stats.summary(), title), encoding="utf-8")
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise DataError(f"{path}: the page cannot be written ({error.strerror}); name a file in a folder that exists") from None


def print_stats(stats: FilesStats, page: Path | None, *, as_json: bool) -> None:
    summary = stats.summary()
    if as_json:
        print(json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False))
        return
    console = Console()
    files = f"{len(stats.files):,} files" if len(stats.files) > 1 else stats.files[0]
    scope = "" if stats.is_whole else ", the first of them"
    console.print(f"{escape(files)}: {stats.num_rows:,} rows{scope}, {len(stats.columns):,} columns", highlight=False, soft_wrap=True)
    table = Table("column", "kind", show_edge=False, pad_edge=False)
    for heading in ("missing", "distinct", "length", "values"):
        table.add_column(heading, justify="right")
    for name, column in summary["columns"].items():
        table.add_row(escape(text_of(name.encode())), *map(escape, _cells(column)))
    console.print(table, highlight=False)
    console.print("length: mean … 99% … longest. values: least … median … most, or the top.", highlight=False)
    if page is not None:
        console.print(f"page: {escape(str(page))}", highlight=False, soft_wrap=True)


def _cells(column: dict[str, Any]) -> list[str]:
    lengths = column.get("lengths")
    length = f"{lengths['mean']:.2f} … {lengths['p99']:,} … {lengths['max']:,}" if lengths and lengths["max"] > 1 else ""
    missing = f"{100 * column['missing_rate']:.2f}%" if column["missing"] else "0"
    distinct = number_text(column["distinct"]) if "distinct" in column else ""
    return [column["kind"], missing, distinct, length, values_text(column)]
