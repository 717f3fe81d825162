"""What each column becomes: from what the file holds and what the caller asks for to one decision a column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import pyarrow as pa
import torch
from torch import Tensor

from sparrow.errors import ConfigError, DataError, did_you_mean
from sparrow.io.arrow_types import NUMBER_DTYPES, UNITS, Parts, scale_of, take_apart
from sparrow.io.cast import BadValueError, cast
from sparrow.io.formats.format import FileTypes
from sparrow.types import ColumnSpec
from sparrow.types.schema import ColumnKind

_WANTED_DTYPES = frozenset(
    {
        torch.bool,
        torch.uint8,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
    }
)


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """How one column of one file is decoded.

    file_type:  its Arrow type in the file.
    is_dense:   a tensor [rows] or [rows, width]; else Ragged.
    is_bytes:   the values are the bytes of strings.
    dtype:      of the values handed out.
    default:    0-d tensor of `dtype`, what a null reads; None makes a null an error.
    num_lists:  list levels in the file.
    wraps:      a scalar column handed out as rows of at most one value.
    weighted:   the innermost list holds pairs, the second of which become weights.
    unit:       of timestamps and dates as handed out, None for anything else.
    scale:      factor and divisor from the file's unit to that one.
    """

    name: str
    file_type: Any
    is_dense: bool
    is_bytes: bool
    dtype: torch.dtype
    width: int = 1
    default: Tensor | None = None
    num_lists: int = 0
    wraps: bool = False
    weighted: bool = False
    unit: str | None = None
    scale: tuple[int, int] = (1, 1)

    @property
    def shape(self) -> str:
        """What is handed out, in words; equal words for two files mean equal tensors."""
        unit = f" in {self.unit}" if self.unit else ""
        if self.is_dense:
            return f"dense {self.dtype}{unit} [rows]" if self.width == 1 else f"dense {self.dtype}{unit} [rows, {self.width}]"
        values = f"{'bytes' if self.is_bytes else self.dtype}{unit}{' with weights' if self.weighted else ''}"
        return f"ragged {values}, {self.num_lists + self.wraps + self.is_bytes} levels"


def as_specs(columns: Sequence[str | ColumnSpec]) -> tuple[ColumnSpec, ...]:
    """Return the columns asked for as `ColumnSpec`s. Raises `ConfigError` for what no file could satisfy."""
    if isinstance(columns, str):
        raise ConfigError(f"columns is the string {columns!r}; give a list, such as [{columns!r}]")
    specs = tuple(ColumnSpec(column) if isinstance(column, str) else column for column in columns)
    if not specs:
        raise ConfigError("columns is empty; name at least one column to read")
    names: set[str] = set()
    for spec in specs:
        if not isinstance(spec, ColumnSpec):
            raise ConfigError(f"columns holds {spec!r}; each must be a name or a ColumnSpec")
        if spec.name in names:
            raise ConfigError(f"columns names {spec.name!r} twice; name it once")
        names.add(spec.name)
        _check_spec(spec)
    return specs


def _check_spec(spec: ColumnSpec) -> None:
    where = f"column {spec.name!r}"
    if spec.kind not in get_args(ColumnKind):
        raise ConfigError(f"{where}: kind is {spec.kind!r}{did_you_mean(str(spec.kind), get_args(ColumnKind))}")
    if not isinstance(spec.width, int) or spec.width < 1:
        raise ConfigError(f"{where}: width is {spec.width!r}; expected a whole number of at least 1")
    if spec.width > 1 and spec.kind != "dense":
        raise ConfigError(f'{where}: width={spec.width} needs kind="dense", got kind={spec.kind!r}')
    if spec.default is not None and spec.kind not in ("auto", "dense"):
        raise ConfigError(f"{where}: a default is for dense columns, got kind={spec.kind!r}; leave it out, a missing row is an empty row")
    if spec.dtype is not None and spec.dtype not in _WANTED_DTYPES:
        raise ConfigError(f"{where}: dtype is {spec.dtype}; expected one of {', '.join(sorted(map(str, _WANTED_DTYPES)))}")
    if spec.kind == "bytes" and spec.dtype not in (None, torch.uint8):
        raise ConfigError(f"{where}: the bytes of strings are torch.uint8, got dtype={spec.dtype}; leave dtype out")
    if spec.unit is not None and spec.unit not in UNITS:
        raise ConfigError(f"{where}: unit is {spec.unit!r}; expected one of {', '.join(UNITS)}")


def plan_columns(specs: Sequence[ColumnSpec], types: FileTypes, path: str) -> tuple[ColumnPlan, ...]:
    """Return one plan a column for a file of columns `types`. Raises `DataError` naming file and column where it cannot be had."""
    plans = []
    for spec in specs:
        if spec.name not in types.of_column:
            raise DataError(
                f"{path}: no column {spec.name!r}{types.note}{did_you_mean(spec.name, filter(str.isprintable, types.of_column))}"
            )
        if spec.name in types.repeated:
            raise DataError(f"{path}: column {spec.name!r} stands there more than once; write the file with distinct names")
        plans.append(_plan_column(spec, types.of_column[spec.name], path))
    return tuple(plans)


def replan(
    specs: Sequence[ColumnSpec], first: tuple[ColumnPlan, ...], first_path: str, types: FileTypes, path: str
) -> tuple[ColumnPlan, ...]:
    """Return the plans for a further file. Raises `DataError` where a column would come out otherwise than from the first file."""
    if not types.repeated and all(types.of_column.get(plan.name) == plan.file_type for plan in first):
        return first
    plans = plan_columns(specs, types, path)
    for plan, expected in zip(plans, first, strict=True):
        if plan.shape != expected.shape:
            raise DataError(
                f"{path}: column {plan.name!r} has type {plan.file_type}, but {expected.file_type} in {first_path}; "
                "write both alike, or ask for one kind and dtype in a ColumnSpec"
            )
    return plans


def _plan_column(spec: ColumnSpec, file_type: Any, path: str) -> ColumnPlan:
    # The names inside a type are the file's, and may hold anything.
    where = f"{path}: column {spec.name!r} has type {' '.join(str(file_type).split())}"
    parts = take_apart(file_type)
    dtype = _dtype_of(spec, parts, where)
    width = _dense_width(spec, parts, where)
    plan = ColumnPlan(spec.name, file_type, width is not None, parts.is_bytes, dtype, num_lists=parts.num_lists)
    if parts.unit is not None:
        unit = spec.unit or parts.unit
        plan = replace(plan, unit=unit, scale=scale_of(parts.unit, unit))
    elif spec.unit is not None:
        raise DataError(f"{where}; unit={spec.unit!r} is for timestamps and dates: leave it out")
    if width is not None:
        return replace(plan, width=width, default=_default(spec, dtype, where))
    if not parts.is_bytes and dtype == torch.uint8:
        raise DataError(f"{where}; torch.uint8 in a ragged column means the bytes of strings: ask for torch.int16 or wider")
    return replace(plan, wraps=spec.kind == "ragged" and parts.num_lists == 0, weighted=parts.weight is not None)


def _dtype_of(spec: ColumnSpec, parts: Parts, where: str) -> torch.dtype:
    """Return the dtype of a column's values. Raises `DataError` where its type is not read, or not as asked for."""
    if pa.types.is_null(parts.value):
        raise DataError(f"{where}; it holds nulls alone where types are decided: give its type, as in Csv(types=...), or write it with one")
    if pa.types.is_decimal(parts.value):
        raise DataError(f"{where}; decimals are not read: write it as float64, or as int64 of its smallest unit")
    if parts.dtype is None:
        raise DataError(
            f"{where}; expected integers, floats, booleans, strings, timestamps, dates, lists of these, or maps: "
            "convert it when writing, or do not read it"
        )
    if parts.weight is not None and (parts.is_bytes or parts.weight not in NUMBER_DTYPES):
        raise DataError(f"{where}; pairs must be of numbers, the second being the weight: hash strings when writing, or split the column")
    if spec.kind == "bytes" and not parts.is_bytes:
        raise DataError(f'{where}; kind="bytes" expects strings: use kind="auto" for this column')
    if parts.is_bytes and spec.dtype not in (None, torch.uint8):
        raise DataError(
            f"{where}; strings come as torch.uint8 bytes, not {spec.dtype}: leave dtype out and hash or parse them in a feature"
        )
    return spec.dtype or parts.dtype


def _dense_width(spec: ColumnSpec, parts: Parts, where: str) -> int | None:
    """Return the width of a dense column, None where it is ragged. Raises `DataError` where it cannot be as asked for."""
    if spec.kind == "auto" and not parts.is_bytes:
        return 1 if parts.num_lists == 0 else parts.list_width or None
    if spec.kind != "dense":
        return None
    wants_lists = parts.num_lists == 0 and spec.width > 1
    if parts.is_bytes or parts.weight is not None or parts.num_lists > 1 or wants_lists or parts.list_width not in (None, spec.width):
        wanted = "numbers" if spec.width == 1 else f"lists of {spec.width} numbers"
        raise DataError(f'{where}; a dense column of width {spec.width} expects {wanted}: ask for kind="auto" or another width')
    return spec.width


def _default(spec: ColumnSpec, dtype: torch.dtype, where: str) -> Tensor | None:
    if spec.default is None:
        return None
    try:
        return cast(torch.tensor([spec.default], dtype=torch.float64 if isinstance(spec.default, float) else torch.int64), dtype)[0]
    except BadValueError as error:
        raise DataError(f"{where}; its default {error.why}: give one that fits, or a wider dtype") from None
    except (OverflowError, TypeError, ValueError, RuntimeError):
        raise DataError(f"{where}; its default {spec.default!r} is not a number of 64 bits: give one that fits {dtype}") from None
