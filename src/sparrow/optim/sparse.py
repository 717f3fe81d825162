"""The optimizer of table rows: torch's rules on the outside, one fused update a table group inside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from sparrow.errors import CheckpointError, ConfigError, did_you_mean
from sparrow.tables import Sink, SinkList, TableGroup, TableOptions, table_groups
from sparrow.tables.placement import send_into
from sparrow.tables.recording import Recording, current_recording


class SparseOptimizer(torch.optim.Optimizer):
    """Updates the rows that received a gradient, by the rule each table declares; other rows do not move.

    One param group a table group. Its `params` are the group's live sinks, so `clip_grad_norm_`, `GradScaler`, gradient
    accumulation and LR schedulers work as for any torch optimizer. An id that several features, losses or micro-batches used is
    updated once, with the summed gradient.

    Args:
        source: a module that holds embedding engines, or table groups.
        lr: learning rate of all groups; `TableOptions.hyper` overrides it by table, a scheduler by group.
        hyper: other hyper-parameters of the rules, e.g. `eps=1e-8, beta1=0.9`. Each must be known to the rule of some group.

    Raises: `ConfigError` where there is no table, or a hyper-parameter is unknown to every rule or out of its range.
    """

    def __init__(self, source: nn.Module | Iterable[TableGroup], lr: float = 1e-3, **hyper: float) -> None:
        self.groups = table_groups(source) if isinstance(source, nn.Module) else list(source)
        if not self.groups:
            raise ConfigError("SparseOptimizer found no tables: give it a module that holds an EmbeddingEngine, or table groups")
        known = {name for group in self.groups for name in group.rule.hyper}
        for name in hyper:
            if name not in known:
                raise ConfigError(f"SparseOptimizer: no rule of these tables has hyper-parameter {name!r}{did_you_mean(name, known)}")
        for group in self.groups:
            for slot, name in group.rule.first_from.items():
                if name in hyper:
                    raise ConfigError(
                        f"SparseOptimizer: {name!r} is the first value of slot {slot!r}, which rows get when they are inserted; "
                        f"declare it with the table: hyper={{{name!r}: {hyper[name]}}}"
                    )
        param_groups: list[dict[str, Any]] = [
            {"params": [], "name": group.name, "lr": lr, **{name: value for name, value in hyper.items() if name in group.rule.hyper}}
            for group in self.groups
        ]
        for param_group, group in zip(param_groups, self.groups, strict=True):
            group.rule.hyper_row(step=1, **{name: value for name, value in param_group.items() if name in group.rule.hyper})
        self._hyper_rows = [_HyperRows(group) for group in self.groups]
        super().__init__(param_groups, {})
        # Torch copied the (empty) lists; what it must see is the live ones.
        for param_group, group in zip(self.param_groups, self.groups, strict=True):
            param_group["params"] = group.sinks

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every row that holds a gradient, forget those gradients, and advance the step of every group."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        recording = current_recording()
        if recording is not None:
            recording.stepped(self.groups)
        with torch.no_grad():
            for index, group in enumerate(self.groups):
                taken = group.sinks.take_gradient()
                if taken is not None:
                    lookup, grad = taken
                    if recording is None:
                        group.update(lookup, grad, self.advance(index, lookup.tables))
                    else:
                        group.update(lookup, grad, self._recorded_hyper(recording, index, lookup.tables))
                if recording is None or not recording.is_capturing:
                    group.step += 1
        return loss

    def advance(self, index: int, tables: Iterable[int]) -> Tensor:
        """Count an update of `tables` of group `index`, and return the hyper rows it is done by, float64 [T, 16]."""
        group = self.groups[index]
        for table in tables:
            group.table_steps[table] += 1
        return self._hyper_rows[index](self.param_groups[index])

    def _recorded_hyper(self, recording: Recording, index: int, tables: tuple[int, ...]) -> Tensor:
        group = self.groups[index]
        recording.updated(group, tables)
        if not recording.is_capturing:
            recording.write(group, self.advance(index, tables))
            send_into(recording.here, recording.there)
        return recording.hyper(group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients that have arrived. Sinks still waiting stay: the loop forward, zero_grad, backward, step trains."""
        for group in self.groups:
            group.sinks.drop_held()

    def state_dict(self) -> dict[str, Any]:
        """Return learning rates and other settings by group. Slots and step counts are saved with the rows, sinks never."""
        return {"param_groups": [{key: value for key, value in group.items() if key != "params"} for group in self.param_groups]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the settings of `state_dict`. Raises `CheckpointError` where it lists other groups."""
        saved = [group["name"] for group in state_dict["param_groups"]]
        own = [group.name for group in self.groups]
        if saved != own:
            raise CheckpointError(
                f"the optimizer state is of table groups {saved}, this optimizer has {own}; build the model the checkpoint was saved from"
            )
        for param_group, values in zip(self.param_groups, state_dict["param_groups"], strict=True):
            param_group.update({key: value for key, value in values.items() if key != "params"})


class _HyperRows:
    """Makes the hyper rows of a group's tables for each update. Tables mostly agree, so that hundreds cost what a few do."""

    def __init__(self, group: TableGroup) -> None:
        self._group = group
        self._tables: tuple[TableOptions, ...] = ()
        self._own: list[Mapping[str, float]] = []  # what tables override, each once
        self._own_of = torch.empty(0, dtype=torch.int64)  # table -> its index in `_own`

    def __call__(self, param_group: Mapping[str, Any]) -> Tensor:
        """Return float64 [T, 16]: the hyper-parameters of every table for this update, bias corrections by the table's own step count."""
        group, rule = self._group, self._group.rule
        if self._tables is not group.tables:  # a table was added, or the rule changed
            self._tables = group.tables
            own = {tuple(options.hyper.items()): options.hyper for options in group.tables}
            place = {key: index for index, key in enumerate(own)}
            self._own = list(own.values())
            self._own_of = torch.tensor([place[tuple(options.hyper.items())] for options in group.tables])
        shared = {name: value for name, value in param_group.items() if name in rule.hyper}
        steps, row_of = group.table_steps, self._own_of
        distinct = {(index, steps[0]): index for index in range(len(self._own))}
        if steps.count(steps[0]) != len(steps):
            distinct = {}
            keys = zip(self._own_of.tolist(), steps, strict=True)
            row_of = torch.tensor([distinct.setdefault(key, len(distinct)) for key in keys])
        rows = [
            rule.hyper_row(step=max(step, 1), global_step=group.step + 1, **{**shared, **self._own[own_index]})
            for own_index, step in distinct
        ]
        return torch.tensor(rows, dtype=torch.float64).index_select(0, row_of)


def _refuse_sinks(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
    for param_group in optimizer.param_groups:
        if not isinstance(param_group["params"], SinkList) and any(isinstance(parameter, Sink) for parameter in param_group["params"]):
            raise ConfigError(
                f"{type(optimizer).__name__} was given the gradient sink of an embedding table, which holds no weights; "
                f"update tables with sparrow.optim.SparseOptimizer"
            )


register_optimizer_step_pre_hook(_refuse_sinks)
