"""A plan as a drawing: columns at the left, operator calls by depth, features at the right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from sparrow.features.chains import ChainUnit
from sparrow.features.explain import bytes_text, step_text
from sparrow.features.expression import Expression
from sparrow.features.plan import Plan, PlannerNode, Unit, sources_of

_STYLE = """
svg { --ink: #1d2733; --soft: #66727f; --line: #a9b6c4; --card: #ffffff; --page: #f5f7f9; --head: #2f6fb2; background: var(--page); }
@media (prefers-color-scheme: dark) {
  svg { --ink: #e4e9ef; --soft: #98a4b1; --line: #4b5865; --card: #1b222a; --page: #12171d; --head: #6aa7e4; }
}
text { font: 12px system-ui, sans-serif; fill: var(--ink); }
.soft { fill: var(--soft); font-size: 11px; } .head { fill: var(--head); font-weight: 600; }
rect { fill: var(--card); stroke: var(--line); } path { fill: none; stroke: var(--line); stroke-width: 1.2; }
"""
_ROW, _HEAD, _GAP, _PAD, _BETWEEN = 20, 26, 14, 10, 90
_CHARACTER = 6.6  # an average one at 12 pixels
_MOST_CHARACTERS = 60


@dataclass(slots=True)
class _Box:
    """A titled list of rows at a place. ports: what each row makes, for edges that start there; wants: what each reads."""

    title: str
    note: str
    rows: list[str]
    makes: list[Expression]
    wants: list[tuple[Expression, ...]]
    x: float = 0.0
    y: float = 0.0

    @property
    def width(self) -> float:
        longest = max([len(self.title) + len(self.note) + 3, *map(len, self.rows)])
        return 2 * _PAD + _CHARACTER * longest

    @property
    def height(self) -> float:
        return _HEAD + _ROW * len(self.rows) + _PAD / 2

    def row_y(self, row: int) -> float:
        return self.y + _HEAD + _ROW * row + _ROW / 2


def as_svg(plan: Plan, traffic: Sequence[tuple[int, int]] | None) -> str:
    """Return the drawing, an SVG that needs nothing else. traffic: bytes (read, written) a call."""
    layers = _layers(plan, traffic)
    x, height = float(_GAP), 0.0
    for layer in layers:
        y = float(_GAP)
        for box in layer:
            box.x, box.y = x, y
            y += box.height + _GAP
        x += max(box.width for box in layer) + _BETWEEN
        height = max(height, y)
    boxes = [box for layer in layers for box in layer]
    made_at = {made: (box.x + box.width, box.row_y(row)) for box in boxes for row, made in enumerate(box.makes)}
    edges = "".join(
        _edge(*made_at[wanted], box.x, box.row_y(row))
        for box in boxes
        for row, all_wanted in enumerate(box.wants)
        for wanted in dict.fromkeys(all_wanted)
    )
    width = x - _BETWEEN + _GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}">'
        f"<title>{len(plan.features)} features of {len(plan.columns)} columns in {len(plan.nodes)} operator calls</title>"
        f"<style>{_STYLE}</style>{edges}{''.join(map(_drawn, boxes))}</svg>\n"
    )


def _layers(plan: Plan, traffic: Sequence[tuple[int, int]] | None) -> list[list[_Box]]:
    columns = [Expression(name) for name in plan.columns]
    layers = [[_Box("columns", str(len(columns)), list(plan.columns), columns, [() for _ in columns])]]
    for depth in sorted({node.depth for node in plan.nodes}):
        layers.append([_call(number, node, traffic) for number, node in enumerate(plan.nodes) if node.depth == depth])
    wanted = [(feature.expression,) for feature in plan.features if feature.expression is not None]
    layers.append([_Box("features", str(len(plan.features)), [feature.name for feature in plan.features], [], list(wanted))])
    return layers


def _call(number: int, node: PlannerNode, traffic: Sequence[tuple[int, int]] | None) -> _Box:
    note = f"call {number + 1}"
    if traffic is not None:
        note += f", {bytes_text(traffic[number][0])} in, {bytes_text(traffic[number][1])} out"
    return _Box(
        node.kind,
        note,
        [_steps(unit) for unit in node.units],
        [unit.result for unit in node.units],
        [sources_of(unit) for unit in node.units],
    )


def _steps(unit: Unit) -> str:
    steps = unit.transforms if isinstance(unit, ChainUnit) else (unit.result.transform,)
    text = " | ".join(map(step_text, steps))
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}\N{HORIZONTAL ELLIPSIS}"


def _drawn(box: _Box) -> str:
    rows = "".join(f'<text x="{box.x + _PAD:.1f}" y="{box.row_y(row) + 4:.1f}">{escape(text)}</text>' for row, text in enumerate(box.rows))
    return (
        f'<g><rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="6"/>'
        f'<text class="head" x="{box.x + _PAD:.1f}" y="{box.y + 17:.1f}">{escape(box.title)}</text>'
        f'<text class="soft" x="{box.x + box.width - _PAD:.1f}" y="{box.y + 17:.1f}" text-anchor="end">{escape(box.note)}</text>{rows}</g>'
    )


def _edge(x1: float, y1: float, x2: float, y2: float) -> str:
    bend = max(30.0, (x2 - x1) / 2)
    return f'<path d="M{x1:.1f} {y1:.1f}C{x1 + bend:.1f} {y1:.1f} {x2 - bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"/>'
