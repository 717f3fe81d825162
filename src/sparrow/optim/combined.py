"""One optimizer over the dense and the sparse half, for everything that expects one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sparrow.optim.dense import as_it_steps
from sparrow.optim.sparse import SparseOptimizer


class CombinedOptimizer(torch.optim.Optimizer):
    """What `GradScaler`, LR schedulers and trainers see: the param groups of both halves, stepped and skipped together.

    Args:
        dense: any torch optimizer over `model.parameters()`.
        sparse: the optimizer of the tables.
    """

    def __init__(self, dense: torch.optim.Optimizer, sparse: SparseOptimizer) -> None:
        self.dense, self.sparse = dense, sparse
        super().__init__([{"params": []}], {})

    # A property: loading a state makes torch replace the lists of the halves, and schedulers write into whatever is here.
    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [*self.dense.param_groups, *self.sparse.param_groups]

    @param_groups.setter
    def param_groups(self, value: list[dict[str, Any]]) -> None:
        pass  # torch's constructor assigns its own list; the halves own the real ones

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        if param_group["params"]:
            self.dense.add_param_group(param_group)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.dense.step()
        self.sparse.step()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.dense.zero_grad(set_to_none)
        self.sparse.zero_grad(set_to_none)

    def clip_grad_norm_(self, max_norm: float, norm_type: float = 2.0) -> Tensor:
        """Scale all gradients so that their one global norm, dense and sparse together, is at most `max_norm`; return the norm before."""
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        return torch.nn.utils.clip_grad_norm_(parameters, max_norm, norm_type)

    def state_dict(self) -> dict[str, Any]:
        return {"dense": self.dense.state_dict(), "sparse": self.sparse.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over both states; how the dense half steps (captured or not, fused or not) stays as it was built."""
        self.dense.load_state_dict(as_it_steps(self.dense, state_dict["dense"]))
        self.sparse.load_state_dict(state_dict["sparse"])
