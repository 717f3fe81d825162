"""Results of operators as one SVG that needs nothing else: bytes a second against a plain copy, and a bar a case."""

from __future__ import annotations

import datetime
import math
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

import torch

from benchmarks.devices import device_name, peak_bandwidth
from benchmarks.harness import Result, commit

WIDTH, _LEFT, _RIGHT = 1000, 74, 24
_PLOT_TOP, _PLOT_HEIGHT, _ROW_HEIGHT = 96, 330, 22
# The bars of the list: where a whole copy ends, and the room for text at both sides.
_BAR_LEFT, _BAR_WIDTH = 470, 300

_STYLE = """
svg { color-scheme: light dark;
  --ink: #1d2733; --soft: #5c6875; --line: #dfe4ea; --page: #fff; --ours: #2f6fb2; --theirs: #c2691c; --warn: #b3261e; --good: #1e7a46; }
@media (prefers-color-scheme: dark) {
  svg {
    --ink: #e4e9ef; --soft: #98a4b1; --line: #323c47; --page: #12171d; --ours: #6aa7e4; --theirs: #f0a35e; --warn: #ff8a80; --good: #6fcf97;
  }
}
.page { fill: var(--page); } text { fill: var(--ink); font: 12px system-ui, sans-serif; font-variant-numeric: tabular-nums; }
.title { font-size: 19px; font-weight: 600; } .head { font-size: 14px; font-weight: 600; } .soft { fill: var(--soft); }
.grid { stroke: var(--line); } .roof { stroke: var(--ink); stroke-width: 2; } .peak { stroke: var(--soft); stroke-dasharray: 6 4; }
.ours { fill: var(--ours); } .theirs { fill: var(--theirs); } .link { stroke: var(--line); stroke-width: 2; }
.number { font-size: 10px; } .end { text-anchor: end; } .middle { text-anchor: middle; }
.met { fill: var(--good); } .missed { fill: var(--warn); }
"""


def write_svg(path: Path, results: Sequence[Result], device: str, copy: float) -> None:
    """Write the plot whole or not at all. copy: bytes a second that a plain copy reaches."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    where = f"{device_name(device)}, torch {torch.__version__}, {datetime.date.today()}" + (f", commit {commit()}" if commit() else "")
    beside.write_text(svg_of(results, where, copy, peak_bandwidth(device)), encoding="utf-8")
    os.replace(beside, path)


def svg_of(results: Sequence[Result], where: str, copy: float, peak: float | None) -> str:
    """Return the plot. where: device, versions and date. copy, peak: bytes a second of a plain copy, and by the data sheet if known."""
    list_top = _PLOT_TOP + _PLOT_HEIGHT + 96
    height = list_top + _ROW_HEIGHT * len(results) + 32
    legend = (
        f'<circle cx="{_LEFT + 6}" cy="70" r="5" class="ours"/><text x="{_LEFT + 18}" y="74">Sparrow</text>'
        f'<circle cx="{_LEFT + 96}" cy="70" r="5" class="theirs"/><text x="{_LEFT + 108}" y="74">the peer beside it</text>'
        f'<text x="{_LEFT + 240}" y="74" class="soft">MBU = bytes that must move / time / what a plain copy reaches</text>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">'
        f"<title>Operators of Sparrow against a plain copy</title><style>{_STYLE}</style>"
        f'<rect class="page" width="{WIDTH}" height="{height}"/>'
        f'<text x="{_LEFT}" y="32" class="title">Operators against a plain copy</text>'
        f'<text x="{_LEFT}" y="52" class="soft">{escape(where)}</text>{legend}'
        f"{_plot(results, copy, peak)}{_list(results, list_top)}</svg>\n"
    )


class _Scale:
    """A logarithmic axis from `least` to `most`, drawn from pixel `begin` to `end`."""

    def __init__(self, least: float, most: float, begin: float, end: float) -> None:
        self.least, self.most = math.log10(least), math.log10(most)
        self.begin, self.end = begin, end

    def __call__(self, value: float) -> float:
        return round(self.begin + (math.log10(value) - self.least) / (self.most - self.least) * (self.end - self.begin), 1)

    def ticks(self) -> list[float]:
        """Return the powers of ten between both ends, and their doubles and fives where these are few."""
        steps = (1, 2, 5) if self.most - self.least < 2 else (1,)
        powers = range(math.floor(self.least), math.ceil(self.most) + 1)
        values = [step * 10.0**power for power in powers for step in steps]
        return [value for value in values if self.least <= math.log10(value) <= self.most]


def _plot(results: Sequence[Result], copy: float, peak: float | None) -> str:
    shown = [(number, one, one.bytes) for number, one in enumerate(results, 1) if one.bytes and one.seconds]
    bottom, right = _PLOT_TOP + _PLOT_HEIGHT, WIDTH - _RIGHT
    sizes = [size for _, _, size in shown] or [1]
    speeds = [size / seconds for _, one, size in shown for seconds in (one.seconds, one.peer_seconds) if seconds]
    x = _Scale(min(sizes) / 1.5, max(sizes) * 1.5, _LEFT, right)
    y = _Scale(min([*speeds, copy]) / 1.5, max([*speeds, copy, peak or 0]) * 1.6, bottom, _PLOT_TOP)
    parts = [f'<text x="{_LEFT}" y="{_PLOT_TOP - 4}" class="soft">bytes a second</text>']
    for tick in y.ticks():
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y(tick)}" y2="{y(tick)}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y(tick) + 4}" class="soft end">{_bytes(tick)}/s</text>')
    for tick in x.ticks():
        parts.append(f'<line class="grid" x1="{x(tick)}" x2="{x(tick)}" y1="{_PLOT_TOP}" y2="{bottom}"/>')
        parts.append(f'<text x="{x(tick)}" y="{bottom + 18}" class="soft middle">{_bytes(tick)}</text>')
    parts.append(f'<text x="{right}" y="{bottom + 36}" class="soft end">bytes a call must move</text>')
    roofs = [("roof", copy, "a plain copy"), *([("peak", peak, "the data sheet")] if peak else [])]
    for kind, speed, name in roofs:
        parts.append(f'<line class="{kind}" x1="{_LEFT}" x2="{right}" y1="{y(speed)}" y2="{y(speed)}"/>')
        below = 15 if kind == "roof" and peak else -6
        parts.append(f'<text x="{right}" y="{y(speed) + below}" class="end">{name}: {speed / 1e9:,.0f} GB/s</text>')
    parts += [_dots(number, one, size, x, y) for number, one, size in shown]
    return f'<g id="roofline">{"".join(parts)}</g>'


def _dots(number: int, result: Result, size: int, x: _Scale, y: _Scale) -> str:
    assert result.seconds is not None
    across, up = x(size), y(size / result.seconds)
    peer = ""
    if result.peer_seconds:
        down = y(size / result.peer_seconds)
        peer = f'<line class="link" x1="{across}" x2="{across}" y1="{up}" y2="{down}"/>'
        peer += f'<circle class="theirs" cx="{across}" cy="{down}" r="4"/>'
    mark = f'<circle class="ours" cx="{across}" cy="{up}" r="5"/><text x="{across + 7}" y="{up + 4}" class="number">{number}</text>'
    return f'<g class="dot"><title>{escape(_sentence(result))}</title>{peer}{mark}</g>'


def _list(results: Sequence[Result], top: int) -> str:
    copy_end = _BAR_LEFT + _BAR_WIDTH
    parts = [
        f'<text x="{_LEFT}" y="{top - 14}" class="head">Every case: MBU, time, and how many times faster than the peer</text>',
        f'<line class="grid" x1="{copy_end}" x2="{copy_end}" y1="{top - 4}" y2="{top + _ROW_HEIGHT * len(results)}"/>',
        f'<text x="{copy_end}" y="{top - 14}" class="soft middle">a plain copy</text>',
    ]
    for row, result in enumerate(results):
        middle = top + row * _ROW_HEIGHT + _ROW_HEIGHT // 2
        name = result.case if len(result.case) <= 62 else f"{result.case[:61]}…"
        text = f'<text x="{_LEFT - 12}" y="{middle + 4}" class="soft end">{row + 1}</text>'
        text += f'<text x="{_LEFT}" y="{middle + 4}">{escape(name)}</text>'
        parts.append(f'<g class="case"><title>{escape(_sentence(result))}</title>{text}{_bar(result, middle)}</g>')
    return f'<g id="cases">{"".join(parts)}</g>'


def _bar(result: Result, middle: int) -> str:
    if result.mbu is None or result.seconds is None:
        kind = "missed" if result.met is False else "soft"
        return f'<text x="{_BAR_LEFT}" y="{middle + 4}" class="{kind}">{escape(result.note or "no bytes are counted")[:90]}</text>'

    def width(mbu: float) -> float:  # what lies in a cache can be faster than a copy: such bars end at the edge
        return round(max(1.0, min(mbu, 1.08) * _BAR_WIDTH), 1)

    theirs = result.mbu * result.seconds / result.peer_seconds if result.peer_seconds else None
    parts = [f'<rect class="ours" x="{_BAR_LEFT}" y="{middle - 8}" width="{width(result.mbu)}" height="9" rx="2"/>']
    if theirs is not None:
        parts.append(f'<rect class="theirs" x="{_BAR_LEFT}" y="{middle + 2}" width="{width(theirs)}" height="5" rx="2"/>')
    ratio = f" · {result.ratio:.1f}x" if result.ratio is not None else ""
    parts.append(f'<text x="{WIDTH - _RIGHT}" y="{middle + 4}" class="end">{_bar_text(result)}{ratio}{_goal_text(result)}</text>')
    return "".join(parts)


def _bar_text(result: Result) -> str:
    assert result.mbu is not None
    assert result.seconds is not None
    return f"{result.mbu:.0%} · {_time(result.seconds)}"


def _goal_text(result: Result) -> str:
    if result.met is None:
        return ""
    return ' <tspan class="met">✓</tspan>' if result.met else ' <tspan class="missed">✗</tspan>'


def _sentence(result: Result) -> str:
    """Return all that is known of a case, for whoever points at it."""
    if result.sparrow is None:
        return f"{result.case}: {result.note}"
    parts = [f"{result.case}: {result.sparrow:,.4g} {result.unit}"]
    if result.peer_value is not None:
        parts.append(f"{result.peer} {result.peer_value:,.4g}")
    if result.mbu_of_peak is not None:
        parts.append(f"{result.mbu_of_peak:.0%} of the data sheet")
    if result.met is not None:
        parts.append(f"goal {result.goal}: {'met' if result.met else 'missed'}")
    return ", ".join(parts)


def _bytes(value: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.5 or unit == "TB":
            break
        value /= 1000
    return f"{value:g} {unit}"


def _time(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{1e3 * seconds:.2f} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.1f} µs"
