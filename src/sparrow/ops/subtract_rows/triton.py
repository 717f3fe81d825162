"""`subtract_rows` on a GPU: a value a lane, one launch for all results."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.ops import recorded
from sparrow.ops.row_search import BLOCK, LANES, address_of, grid_of, lanes_of, num_rows_of, on_device, refuse_unless, row_of
from sparrow.ops.subtract_rows import layouts

ONE_A = tl.constexpr(layouts.ONE_A)
ONE_B = tl.constexpr(layouts.ONE_B)
DTYPES = (torch.int64, torch.float32, torch.float64)
INT64 = tl.constexpr(0)
FLOAT32 = tl.constexpr(1)
# Words of a result in the table. OFFSETS are those of the column that has lists.
VALUES_A, VALUES_B, TYPE_A, TYPE_B, LAYOUT, OFFSETS, NUM_ROWS, NUM_VALUES, OUT = map(tl.constexpr, range(9))
WIDTH = tl.constexpr(9)
# The first difference beyond int64 is told by one number: result, then place.
PLACE_BITS = tl.constexpr(40)
NOWHERE = 2**62


@triton.jit
def as_float64(values, type, b_from, m_from):
    """Values at address `values`, of any of the types, as float64."""
    is_integer = lanes_of(type, b_from) == INT64
    is_float = lanes_of(type, b_from) == FLOAT32
    b_integer = tl.load(values.to(tl.pointer_type(tl.int64)) + b_from, mask=m_from & is_integer, other=0)
    b_float = tl.load(values.to(tl.pointer_type(tl.float32)) + b_from, mask=m_from & is_float, other=0.0)
    b_double = tl.load(values.to(tl.pointer_type(tl.float64)) + b_from, mask=m_from & ~(is_integer | is_float), other=0.0)
    return tl.where(is_integer, b_integer.to(tl.float64), tl.where(is_float, b_float.to(tl.float64), b_double))


@triton.jit
def subtract_kernel(results, first_beyond, BLOCK_N: tl.constexpr):
    first = tl.program_id(0).to(tl.int64) * BLOCK_N
    o_n = first + tl.arange(0, BLOCK_N)  # [BLOCK_N]
    number = tl.program_id(1).to(tl.int64)
    own = results + number * WIDTH
    num_values = tl.load(own + NUM_VALUES)
    m_n = o_n < num_values
    layout = tl.load(own + LAYOUT)
    num_rows = tl.load(own + NUM_ROWS)
    b_row = row_of(tl.load(own + OFFSETS), num_rows, first, num_values, BLOCK_N)
    # Memory may be longer than the lists: what lies behind them is no difference.
    m_n = m_n & (b_row < num_rows)
    b_a = tl.where(layout == ONE_A, b_row, o_n)
    b_b = tl.where(layout == ONE_B, b_row, o_n)
    a = tl.load(own + VALUES_A)
    b = tl.load(own + VALUES_B)
    type_a = tl.load(own + TYPE_A)
    type_b = tl.load(own + TYPE_B)
    out = tl.load(own + OUT)
    if (type_a == INT64) & (type_b == INT64):
        b_from = tl.load(a.to(tl.pointer_type(tl.int64)) + b_a, mask=m_n, other=0)
        b_less = tl.load(b.to(tl.pointer_type(tl.int64)) + b_b, mask=m_n, other=0)
        b_difference = b_from - b_less
        tl.store(out.to(tl.pointer_type(tl.int64)) + o_n, b_difference, mask=m_n)
        is_beyond = m_n & (((b_from ^ b_less) & (b_from ^ b_difference)) < 0)
        if tl.max(is_beyond.to(tl.int32)) > 0:
            tl.atomic_min(first_beyond + tl.zeros_like(o_n), (number << PLACE_BITS) + o_n, mask=is_beyond, sem="relaxed")
    elif (type_a == FLOAT32) & (type_b == FLOAT32):
        b_from_float = tl.load(a.to(tl.pointer_type(tl.float32)) + b_a, mask=m_n, other=0.0)
        b_less_float = tl.load(b.to(tl.pointer_type(tl.float32)) + b_b, mask=m_n, other=0.0)
        tl.store(out.to(tl.pointer_type(tl.float32)) + o_n, b_from_float - b_less_float, mask=m_n)
    else:
        b_double = as_float64(a, type_a, b_a, m_n) - as_float64(b, type_b, b_b, m_n)
        tl.store(out.to(tl.pointer_type(tl.float64)) + o_n, b_double, mask=m_n)


def _check_layout(x: int, layout: int, a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> None:
    refuse_unless(
        layouts.ALIGNED <= layout <= layouts.ONE_A,
        f"columns: result {x} has layout {layout}, must be 0 (aligned), 1 (b has one value a row) or 2 (a has one value a row)",
    )
    refuse_unless(layout != layouts.ONE_B or not b[1].numel(), f"b_offsets of result {x} must be empty: b has one value a row by columns")
    refuse_unless(layout != layouts.ONE_A or not a[1].numel(), f"a_offsets of result {x} must be empty: a has one value a row by columns")
    refuse_unless(num_rows_of(*a) == num_rows_of(*b), f"result {x}: a has {num_rows_of(*a)} rows, b {num_rows_of(*b)}")
    refuse_unless(
        layout != layouts.ALIGNED or (a[0].numel() == b[0].numel() and a[1].numel() == b[1].numel()),
        f"result {x}: a and b must have equal offsets, or columns must say which has one value a row",
    )
    for name, (values, _) in (("a", a), ("b", b)):
        refuse_unless(values.dtype in DTYPES, f"{name} of result {x} must be int64, float32 or float64")


def _is_flagged(first_beyond: Tensor) -> bool:
    """Let a step that a graph repeats flag a difference beyond int64, to be told later; return whether it does."""
    step = recorded.current()
    # The first of all, and how many steps had one: else a step like one before would not be told.
    flags = None if step is None else step.flags(2, NOWHERE, first_beyond.device, _said)
    if flags is None:
        return False
    flags[:1].copy_(torch.minimum(flags[:1], first_beyond))
    flags[1:].add_(first_beyond != NOWHERE)
    return True


def _said(flags: list[int]) -> Exception | None:
    return RuntimeError(f"result {flags[0] >> PLACE_BITS.value}: a difference is beyond int64; subtract as float64")


def subtract_rows(a: list[Tensor], a_offsets: list[Tensor], b: list[Tensor], b_offsets: list[Tensor], columns: Tensor) -> list[Tensor]:
    """CUDA body of the operator; see `op.py`. One read by the host where integers are subtracted. One launch.

    That aligned columns have equal offsets is not looked at: their sizes must be equal.
    """
    refuse_unless(columns.numel() == len(a), f"columns must be [{len(a)}], has {columns.numel()}")
    out: list[Tensor] = []
    table, rows = [], []
    for x, layout in enumerate(columns.tolist()):
        _check_layout(x, layout, (a[x], a_offsets[x]), (b[x], b_offsets[x]))
        lists, offsets = (b[x], b_offsets[x]) if layout == layouts.ONE_A else (a[x], a_offsets[x])
        out.append(lists.new_empty(lists.numel(), dtype=layouts.difference_dtype(a[x].dtype, b[x].dtype)))
        rows.append(num_rows_of(lists, offsets))
        table.append(
            [
                address_of(a[x], f"a of result {x}"),
                address_of(b[x], f"b of result {x}"),
                DTYPES.index(a[x].dtype),
                DTYPES.index(b[x].dtype),
                layout,
                address_of(offsets, f"offsets of result {x}", torch.int64),
                rows[-1],
                lists.numel(),
                out[-1].data_ptr(),
            ]
        )
    most = max((one.numel() for one in out), default=0)
    if most == 0:
        return out
    first_beyond = torch.full((1,), NOWHERE, dtype=torch.int64, device=a[0].device)
    subtract_kernel[grid_of(len(table), most, BLOCK)](on_device(table, a[0]), first_beyond, **LANES)
    is_exact = any(one.dtype == torch.int64 for one in out)
    if is_exact and not _is_flagged(first_beyond) and (beyond := int(first_beyond)) != NOWHERE:
        x, place = beyond >> PLACE_BITS.value, beyond & ((1 << PLACE_BITS.value) - 1)
        offsets = b_offsets[x] if columns[x] == layouts.ONE_A else a_offsets[x]
        row = int((offsets[1:] <= place).sum()) if offsets.numel() else place
        raise RuntimeError(f"result {x}: a difference in row {row} is beyond int64; subtract as float64")
    return out
