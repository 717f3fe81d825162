"""What a user, a feature or a model asks a reader for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

ColumnKind = Literal["auto", "dense", "ragged", "bytes"]
TimeUnit = Literal["s", "ms", "us", "ns", "day"]


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """One column to read, and what it must become.

    name:    the column in the file.
    kind:    `"auto"` takes the file's type: a scalar column becomes a dense tensor [rows], a list column Ragged (of a fixed size:
             dense [rows, size]), a string column Ragged bytes, a map Ragged with weights. `"dense"` asks for [rows] (width 1) or
             [rows, width]: list columns must then hold exactly `width` values a row. `"ragged"` turns a scalar column into rows of
             one value (null: none). `"bytes"` asks for strings.
    width:   values a row of a dense column, at least 1.
    default: what a null or empty row of a dense column reads; None makes such a row an error. Where `"auto"` finds lists, these are empty.
    dtype:   dtype wanted, by a conversion without loss; None keeps the file's.
    unit:    of timestamps and dates, `"s"`, `"ms"`, `"us"`, `"ns"` or `"day"` since 1970-01-01 UTC, by a conversion without loss; None
             keeps the file's.
    """

    name: str
    kind: ColumnKind = "auto"
    width: int = 1
    default: float | int | None = None
    dtype: torch.dtype | None = None
    unit: TimeUnit | None = None
