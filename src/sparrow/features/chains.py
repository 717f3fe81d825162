"""Chains of element-wise transforms: all those of one depth run as one call of `map_values`, each in one pass over its column."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from sparrow.errors import ConfigError
from sparrow.features.expression import Expression
from sparrow.features.layout import row_of, values_of
from sparrow.features.transforms.element_wise import INTEGERS, STRINGS, ElementWise, Lane
from sparrow.features.transforms.numbers import Fill, Finite
from sparrow.features.types import Context
from sparrow.ops import recorded
from sparrow.ops.map_values.op import NOT_FINITE, REFUSED, REFUSED_BY, map_values
from sparrow.ops.map_values.packed import Packed
from sparrow.ops.map_values.steps import Chain, Source, Step, pack
from sparrow.ops.recorded import Look, RecordedStep
from sparrow.types import Column, Ragged


@dataclass(frozen=True, slots=True)
class ChainUnit:
    """Transforms of one column that run in one pass. source: what they read. result: what the last one makes."""

    source: Expression
    transforms: tuple[ElementWise, ...]
    result: Expression

    @property
    def kind(self) -> str:
        return "map"


@dataclass(slots=True)
class _Bound:
    """Chains for columns of known layouts.

    with_offsets: the units whose offsets the operator takes. steps_of: of each chain, the number of the transform each step belongs to.
    counted: as `packed`, of columns that have memory for more than they hold; None before the first step that has such.
    """

    packed: Packed
    with_offsets: list[int]
    steps_of: list[list[int]]
    can_refuse: bool
    counts_not_finite: bool
    counted: Packed | None = None


@dataclass(slots=True)
class ChainCalls:
    """The chains of one planner node. What depends on the columns' dtypes and layouts is packed at the first batch that has them."""

    units: tuple[ChainUnit, ...]
    # Of each unit the number of its input; of each input the first unit that reads it.
    _inputs: list[int] = field(init=False)
    _readers: list[int] = field(init=False)
    _bound: dict[tuple[object, ...], _Bound] = field(init=False, default_factory=dict)
    # By thread, each of which adds to a tensor of its own: one engine may serve several.
    _not_finite: dict[int, Tensor] = field(init=False, default_factory=dict)
    # On a device, a tensor for each graph that was captured: its replays add to it.
    _not_finite_there: list[Tensor] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        places: dict[Expression, int] = {}
        self._inputs = [places.setdefault(unit.source, len(places)) for unit in self.units]
        self._readers = [self._inputs.index(place) for place in range(len(places))]

    def run(self, columns: Sequence[Column], context_of: Callable[[int], Context]) -> list[Column]:
        """Return the result of each unit.

        columns: the source of each. context_of: whom an error about a unit names. Raises `DataError` naming feature, column and row.
        """
        device = columns[0].device if isinstance(columns[0], Tensor) else columns[0].values.device
        key = (device, *[column.dtype if isinstance(column, Tensor) else _layout(column) for column in columns])
        bound = self._bound.get(key)
        if bound is None:
            bound = self._bound[key] = self._bind(columns, context_of, device)
        values = [values_of(columns[unit]) for unit in self._readers]
        offsets = [columns[unit].offsets[-1] for unit in bound.with_offsets]  # type: ignore[union-attr]
        step = recorded.current_on(device) if bound.can_refuse or bound.counts_not_finite else None
        if step is not None:
            return self._run_recorded(step, bound, columns, values, offsets, context_of)
        outputs, counts = map_values(values, offsets, bound.packed)
        self._look(bound, columns, context_of, counts)
        return self._shaped(columns, outputs)

    def _run_recorded(
        self,
        step: RecordedStep,
        bound: _Bound,
        columns: Sequence[Column],
        values: list[Tensor],
        offsets: list[Tensor],
        context_of: Callable[[int], Context],
    ) -> list[Column]:
        """Run in a step that a graph repeats: what lies behind the last offset does not count, and replays count and flag on the device."""
        counted_by, of_columns = self._counted_by(columns, len(offsets))
        if bound.counted is None:
            bound.counted = replace(bound.packed, chains=torch.cat([bound.packed.chains, torch.tensor(counted_by)[:, None]], 1))
        outputs, counts = map_values(values, offsets + of_columns, bound.counted)
        refused = step.flags(2 * len(columns), 0, counts.device, self._late(bound, context_of))
        not_finite = step.flags(len(columns), 0, counts.device)
        if refused is None or not_finite is None:
            self._look(bound, columns, context_of, counts)
        else:
            of_units = refused.view(2, -1)
            of_units[0].add_(counts[:, REFUSED])
            of_units[1].copy_(torch.maximum(of_units[1], counts[:, REFUSED_BY] + 1))
            not_finite.add_(counts[:, NOT_FINITE])
            self._not_finite_there.append(not_finite)
        return self._shaped(columns, outputs)

    def _counted_by(self, columns: Sequence[Column], num_offsets: int) -> tuple[list[int], list[Tensor]]:
        """Return, of each unit, the number of the offsets whose last entry says how many values or strings there are, or -1 where memory
        has room for no more; and these offsets, numbered from `num_offsets` on."""
        numbers: list[int] = []
        offsets: list[Tensor] = []
        for column, unit in zip(columns, self.units, strict=True):
            levels: tuple[Tensor, ...] = ()
            if isinstance(column, Ragged) and _source(column, unit) != Source.ROWS:
                levels = column.offsets[: len(column.offsets) - column.is_bytes]
            numbers.append(num_offsets + len(offsets) if levels else -1)
            offsets += levels[-1:]
        return numbers, offsets

    def _late(self, bound: _Bound, context_of: Callable[[int], Context]) -> Look:
        """Return what tells what chains refused: flags are how many values each did, and then the number of a step that did, from 1."""
        contexts = [context_of(index) for index in range(len(self.units))]

        def look(flags: list[int]) -> Exception | None:
            for index, (num_refused, step) in enumerate(zip(flags, flags[len(contexts) :], strict=False)):
                if num_refused:
                    refusing = self.units[index].transforms[bound.steps_of[index][step - 1]]
                    return contexts[index].late_error(f"{refusing.kind} refused {num_refused} values so far")
            return None

        return look

    def _look(self, bound: _Bound, columns: Sequence[Column], context_of: Callable[[int], Context], counts: Tensor) -> None:
        if bound.counts_not_finite:
            thread = threading.get_ident()
            if thread not in self._not_finite:
                self._not_finite[thread] = torch.zeros(len(self.units), dtype=torch.int64)
            self._not_finite[thread] += counts[:, NOT_FINITE].cpu()
        if bound.can_refuse and bool(counts[:, REFUSED].any()):
            self._raise_refused(bound, columns, context_of, counts)

    def _shaped(self, columns: Sequence[Column], outputs: Sequence[Tensor]) -> list[Column]:
        return [
            output if isinstance(column, Tensor) and column.dim() == 1 else _shaped(output, column, unit)
            for output, column, unit in zip(outputs, columns, self.units, strict=True)
        ]

    def counted(self) -> list[tuple[ChainUnit, int]]:
        """Return how many NaN and infinities each unit that counts them has met so far. Waits for replays of captured steps."""
        met = [*list(self._not_finite.values()), *[there.cpu() for there in list(self._not_finite_there)]]
        total = sum(met, torch.zeros(len(self.units), dtype=torch.int64))
        counts = zip(self.units, total.tolist(), strict=True)
        return [(unit, count) for unit, count in counts if any(isinstance(one, Finite) for one in unit.transforms)]

    def _bind(self, columns: Sequence[Column], context_of: Callable[[int], Context], device: torch.device) -> _Bound:
        chains: list[Chain] = []
        steps_of: list[list[int]] = []
        with_offsets: list[int] = []
        for index, (place, unit, column) in enumerate(zip(self._inputs, self.units, columns, strict=True)):
            source = _source(column, unit)
            try:
                _check_shape(unit, column)
                steps, owners = _steps(unit, _lane(column))
            except ConfigError as error:
                raise context_of(index).error(str(error)) from None
            chains.append(Chain(place, None if source == Source.VALUES else len(with_offsets), source, tuple(steps)))
            if source != Source.VALUES:
                with_offsets.append(index)
            steps_of.append(owners)
        packed = pack(chains, [values_of(columns[unit]).dtype for unit in self._readers]).to(device)
        counting = any(isinstance(one, Finite) for unit in self.units for one in unit.transforms)
        can_refuse = any(chain.source == Source.ROWS for chain in chains) or any(
            one.can_refuse for unit in self.units for one in unit.transforms
        )
        return _Bound(packed, with_offsets, steps_of, can_refuse, counting)

    def _raise_refused(self, bound: _Bound, columns: Sequence[Column], context_of: Callable[[int], Context], counts: Tensor) -> None:
        index = int(counts[:, 1].nonzero()[0])
        _, num_refused, position, step = counts[index].tolist()
        unit, column = self.units[index], columns[index]
        number = bound.steps_of[index][step]
        refusing = unit.transforms[number]
        is_rows = _source(column, unit) == Source.ROWS
        row = position if is_rows else row_of(_without_bytes(column), position)
        value: float | str
        if is_rows and isinstance(refusing, Fill):
            assert isinstance(column, Ragged)
            value = int(column.lengths()[position])
        else:
            value = _value_before(unit, column, number, position)
        more = f" (and {num_refused - 1} more)" if num_refused > 1 else ""
        raise context_of(index).error(refusing.refused(value) + more, row)


def _layout(column: Ragged) -> tuple[object, ...]:
    return column.values.dtype, len(column.offsets), column.weights is not None


def _lane(column: Column) -> Lane:
    if isinstance(column, Ragged) and column.is_bytes:
        return STRINGS
    dtype = column.dtype if isinstance(column, Tensor) else column.values.dtype
    if not dtype.is_floating_point:
        return INTEGERS
    return Lane(dtype if dtype in (torch.float32, torch.float64) else torch.float32)


def _source(column: Column, unit: ChainUnit) -> Source:
    if isinstance(column, Tensor):
        return Source.VALUES
    if column.is_bytes:
        return Source.BYTES
    return Source.ROWS if isinstance(unit.transforms[0], Fill) else Source.VALUES


def _check_shape(unit: ChainUnit, column: Column) -> None:
    """Raise `ConfigError` for what the layout of a column does not allow."""
    if not isinstance(column, Ragged):
        return
    first = unit.transforms[0]
    first.check(_lane(column))
    if column.is_bytes and column.weights is not None:
        raise ConfigError(f"{first.kind} makes one id a string, which cannot carry the weights of its bytes")
    if isinstance(first, Fill):
        if len(column.offsets) != 1:
            raise ConfigError(f"fill needs rows of one level, got {len(column.offsets)}")
        if column.weights is not None:
            raise ConfigError("fill makes one number a row, which cannot carry weights")


def _steps(unit: ChainUnit, lane: Lane) -> tuple[list[Step], list[int]]:
    """Return the steps of a chain, and the number of the transform each belongs to: one may be several steps, or none."""
    steps: list[Step] = []
    owners: list[int] = []
    for number, transform in enumerate(unit.transforms):
        transform.check(lane)
        made = transform.steps(lane)
        steps += made
        owners += [number] * len(made)
        lane = transform.after(lane)
    return steps, owners


def _without_bytes(column: Column) -> Column:
    """Return the column whose values are the strings: positions count strings, not bytes."""
    if isinstance(column, Ragged) and column.is_bytes:
        strings = column.offsets[-1][:-1]
        return strings if len(column.offsets) == 1 else Ragged(strings, column.offsets[:-1])
    return column


def _shaped(output: Tensor, column: Column, unit: ChainUnit) -> Column:
    if isinstance(column, Tensor):
        return output if column.dim() == 1 else output.reshape(column.shape)
    if column.is_bytes:
        # The byte level is gone: one string a row is now one id a row.
        return output if len(column.offsets) == 1 else Ragged(output, column.offsets[:-1])
    return output if isinstance(unit.transforms[0], Fill) else column.with_values(output)


def _value_before(unit: ChainUnit, column: Column, num_transforms: int, position: int) -> float | str:
    """Return what value number `position` is when it reaches transform number `num_transforms`."""
    if isinstance(column, Ragged) and column.is_bytes:
        begin, end = column.offsets[-1][position : position + 2].tolist()
        one: Column = Ragged(column.values[begin:end], (torch.tensor([0, end - begin]),))
    elif _source(column, unit) == Source.ROWS and isinstance(column, Ragged):
        begin, end = column.offsets[0][position : position + 2].tolist()
        one = Ragged(column.values[begin:end], (torch.tensor([0, end - begin]),))
    else:
        one = values_of(column)[position : position + 1]
    if num_transforms == 0:
        if isinstance(one, Ragged) and one.is_bytes:
            return bytes(one.values.tolist()).decode(errors="replace")
        return values_of(one)[0].item()
    partial = ChainUnit(unit.source, unit.transforms[:num_transforms], unit.result)
    context = Context("", "", lambda row: "")
    (value,) = ChainCalls((partial,)).run([one], lambda _: context)
    return values_of(value)[0].item()
