"""`touch_rows_`, plainly."""

from torch import Tensor


def touch_rows_(
    meta: Tensor, rows: Tensor, counts: Tensor, num_rows: Tensor, step: int, changed: bool, clock: Tensor | None = None
) -> None:
    step = step if clock is None else int(clock)
    for row, count in zip(rows[: int(num_rows)].tolist(), counts.tolist(), strict=False):
        if row >= 0:
            meta[row, 0] = step
            meta[row, 1] = step if changed else meta[row, 1]
            meta[row, 2] = min(int(meta[row, 2]) + count, 2**31 - 1)
