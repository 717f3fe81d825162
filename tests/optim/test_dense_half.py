"""A state of the dense half fits an optimizer that steps another way: captured or not, on numbers or on tensors."""

import pytest
import torch

from sparrow.optim import CombinedOptimizer, SparseOptimizer
from sparrow.optim.dense import rate_like
from sparrow.pipelines import LearningRateSchedule
from sparrow.tables import TableGroup, TableOptions


def combined(lr, steps=0, **settings):
    """An Adam of one weight after some steps, and a sparse half."""
    weight = torch.nn.Parameter(torch.ones(2))
    dense = torch.optim.Adam([weight], lr=lr, weight_decay=0.5, **settings)
    for _ in range(steps):
        weight.grad = torch.ones(2)
        dense.step()
    return CombinedOptimizer(dense, SparseOptimizer([TableGroup("g", [TableOptions(name="a", dim=2)], rows_per_block=8)], lr=0.125))


def test_a_captured_state_is_loaded_by_one_that_is_not():
    saved = combined(torch.tensor(0.25), capturable=True).state_dict()
    loaded = combined(1.0)
    loaded.load_state_dict(saved)
    group = loaded.param_groups[0]
    assert type(group["lr"]) is float
    assert (group["lr"], group["capturable"], group["weight_decay"]) == (0.25, False, 0.5)
    group["params"][0].grad = torch.ones(2)
    loaded.dense.step()  # on a CPU torch refuses to, where it is capturable


def test_a_state_is_loaded_by_one_that_is_captured():
    saved = combined(0.25, steps=3).state_dict()
    loaded = combined(torch.tensor(1.0), capturable=True)
    loaded.load_state_dict(saved)
    group = loaded.param_groups[0]
    assert torch.equal(group["lr"], torch.tensor(0.25))
    assert group["capturable"] is True
    (state,) = loaded.dense.state.values()
    assert torch.equal(state["step"], torch.tensor(3.0))


def test_a_state_of_other_groups_is_torchs_to_refuse():
    loaded = combined(0.25)
    loaded.dense.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))]})
    with pytest.raises(ValueError, match="different number of parameter groups"):
        loaded.load_state_dict(combined(0.25).state_dict())


@pytest.mark.parametrize("saved, own", [(torch.tensor(0.25), 1.0), (0.25, torch.tensor(1.0)), (0.25, 1.0)])
def test_a_schedule_goes_on_with_rates_of_another_kind(saved, own):
    def schedule(lr):
        settings = {"capturable": True} if isinstance(lr, torch.Tensor) else {}
        optimizer = combined(lr, **settings)
        return optimizer, LearningRateSchedule(torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step))

    optimizer, first = schedule(saved)
    first._step()
    loaded, second = schedule(own)
    loaded.load_state_dict(optimizer.state_dict())
    second.load_state_dict(first.state_dict())
    second._step()
    rates = [group["lr"] for group in loaded.param_groups]
    assert [float(rate) for rate in rates] == [0.0625, 0.03125]
    assert [type(rate) for rate in rates] == [type(own), float]


def test_a_rate_keeps_the_kind_that_is_there():
    assert rate_like(torch.tensor(0.5), 1.0) == 0.5
    made = rate_like(0.1, torch.tensor(1.0, dtype=torch.float64))
    assert isinstance(made, torch.Tensor)
    assert made.dtype == torch.float64
