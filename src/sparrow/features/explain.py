"""A plan as text."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from sparrow.features.chains import ChainUnit
from sparrow.features.expression import Expression
from sparrow.features.plan import Plan, Unit


def as_text(plan: Plan, traffic: Sequence[tuple[int, int]] | None) -> str:
    """Return the operator calls with what each serves below it, then the features. traffic: bytes (read, written) a call."""
    num_transforms = sum(len(_steps(unit)) for node in plan.nodes for unit in node.units)
    lines = [
        f"{len(plan.features)} features of {len(plan.columns)} columns: {num_transforms} transforms in {len(plan.nodes)} operator calls"
    ]
    for number, node in enumerate(plan.nodes, start=1):
        moved = "" if traffic is None else f", {bytes_text(traffic[number - 1][0])} read, {bytes_text(traffic[number - 1][1])} written"
        lines.append(f"call {number}, depth {node.depth}, {node.kind}: {len(node.units)} columns{moved}")
        lines += [f"    {unit_text(unit)}" for unit in node.units]
    lines += ["features"]
    lines += [f"    {feature.name} <- {expression_text(feature.expression)}" for feature in plan.features if feature.expression is not None]
    return "\n".join(lines)


def expression_text(expression: Expression) -> str:
    """Return an expression as it was declared: `hist | hash('farm') | mod(10)`, `cross(a | hash('farm'), b)`."""
    steps: list[str] = []
    while expression.transform is not None and len(expression.inputs) == 1:
        steps.append(step_text(expression.transform))
        expression = expression.inputs[0]
    if expression.transform is None:
        begin = str(expression.column)
    else:
        begin = f"{step_text(expression.transform)}[{', '.join(map(expression_text, expression.inputs))}]"
    return " | ".join([begin, *reversed(steps)])


def unit_text(unit: Unit) -> str:
    """Return what a unit does: its sources and its transforms."""
    if isinstance(unit, ChainUnit):
        return " | ".join([_short(unit.source), *map(step_text, unit.transforms)])
    assert unit.result.transform is not None
    return f"{step_text(unit.result.transform)} of {', '.join(map(_short, unit.result.inputs))}"


def step_text(step: object) -> str:
    """Return a transform with its arguments, long ones shortened, and defaults at the end left out but for the first: `hash('farm')`."""
    kind = str(getattr(step, "kind", type(step).__name__))
    arguments = [(getattr(step, one.name), one.default) for one in dataclasses.fields(step)] if dataclasses.is_dataclass(step) else []
    while len(arguments) > 1 and arguments[-1][0] == arguments[-1][1]:
        arguments.pop()
    return f"{kind}({', '.join(_value_text(value) for value, _ in arguments)})" if arguments else kind


def bytes_text(count: int) -> str:
    """Return a number of bytes for people: `31.2 MB`."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("the last unit takes all")


def _value_text(value: object) -> str:
    if isinstance(value, tuple) and len(value) > 4:
        return f"[{', '.join(map(repr, value[:2]))}, ... {len(value)} in all]"
    return repr(list(value)) if isinstance(value, tuple) else repr(value)


def _short(expression: Expression) -> str:
    """Return an expression in a few words: a column's name, or the last transform and the columns it comes from."""
    if expression.column is not None:
        return expression.column
    assert expression.transform is not None
    return f"<{expression.transform.kind} of {', '.join(expression.columns())}>"


def _steps(unit: Unit) -> tuple[object, ...]:
    return unit.transforms if isinstance(unit, ChainUnit) else (unit.result.transform,)
