"""Logarithms of map_values against 60 digits of Python's decimal: within 1 unit in the last place, the same bits plainly and compiled."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
from torch import Tensor

from ops.chains import mapped
from sparrow.ops.map_values.steps import Log, Log1p


def exact_log(x: float, add: int) -> Decimal:
    with localcontext() as context:
        context.prec = 60
        if add == 1 and x < 1e-20:
            return Decimal(x) - Decimal(x) ** 2 / 2  # the series: the next term is 1e-40 of the first
        return (Decimal(x) + add).ln()


def samples() -> Tensor:
    """All exponents; both sides of 1, of sqrt(2) and its powers, where the reduction turns; next to those, single steps."""
    generator = torch.Generator().manual_seed(9)
    exponents = torch.arange(-1074.0, 1024.0, dtype=torch.float64)
    by_exponent = torch.ldexp(1 + torch.rand(len(exponents), generator=generator, dtype=torch.float64), exponents)
    near_one = 1 + torch.linspace(-0.6, 1.5, 3000, dtype=torch.float64)
    turns = torch.tensor([1.0, math.sqrt(0.5), math.sqrt(2.0), math.sqrt(2.0) - 1, 2.0, 0.5, 3.0, 2.0**-1022, 2.0**53], dtype=torch.float64)
    steps = [turns]
    for direction in (math.inf, -math.inf):
        near = turns
        for _ in range(40):
            near = torch.nextafter(near, torch.full_like(near, direction))
            steps.append(near)
    counts = torch.arange(1, 3000, dtype=torch.float64)
    return torch.cat([by_exponent, near_one, near_one - 1, *steps, counts, counts / 7])


def ulps_off(x: list[float], got: list[float], add: int) -> list[float]:
    errors = []
    for value, found in zip(x, got, strict=True):
        exact = exact_log(value, add)
        errors.append(float(abs(Decimal(found) - exact) / Decimal(math.ulp(float(exact)))))
    return errors


@pytest.mark.parametrize(("step", "add"), [(Log(), 0), (Log1p(), 1)])
def test_float64_is_within_one_unit_in_the_last_place(step: Log | Log1p, add: int) -> None:
    x = samples()
    x = x[x > 0]
    got = mapped(x, step).tolist()
    assert max(ulps_off(x.tolist(), got, add)) < 1
    # A library's is as near: nothing is off by more than both errors.
    library = [math.log(value) if add == 0 else math.log1p(value) for value in x.tolist()]
    assert all(abs(mine - its) <= 2 * math.ulp(its) for mine, its in zip(got, library, strict=True))


@pytest.mark.parametrize(("step", "add"), [(Log(), 0), (Log1p(), 1)])
def test_float32_is_the_nearest(step: Log | Log1p, add: int) -> None:
    x = samples().float()
    x = x[(x > 0) & x.isfinite()]
    expected = [np.float32(float(exact_log(value, add))).item() for value in x.tolist()]
    assert mapped(x, step).tolist() == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_special_numbers(dtype: torch.dtype) -> None:
    x = torch.tensor(
        [0.0, -0.0, -1.0, -math.inf, math.inf, math.nan, 1.0, torch.finfo(dtype).tiny / 4, torch.finfo(dtype).max], dtype=dtype
    )
    log = mapped(x, Log()).tolist()
    assert log[:2] == [-math.inf, -math.inf]
    assert all(map(math.isnan, (log[2], log[3], log[5])))
    assert log[4] == math.inf
    assert log[6] == 0.0
    assert log[7] == torch.tensor(math.log(x[7].item()), dtype=dtype).item()
    assert log[8] == torch.tensor(math.log(x[8].item()), dtype=dtype).item()
    log1p = mapped(x, Log1p()).tolist()
    assert log1p[:4] == [0.0] * 4
    assert [math.copysign(1, value) for value in log1p[:4]] == [1.0] * 4
    assert log1p[4] == math.inf
    assert math.isnan(log1p[5])
    assert log1p[6] == torch.tensor(math.log(2), dtype=dtype).item()
    assert log1p[7] == x[7].item()
    assert log1p[8] == torch.tensor(math.log(x[8].item()), dtype=dtype).item()
