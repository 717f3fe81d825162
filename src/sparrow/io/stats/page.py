"""Statistics as one HTML page that needs nothing else: styles and plots are in it, and what comes from files is escaped."""

from __future__ import annotations

from html import escape
from typing import Any

_STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1d2733; --soft: #66727f; --line: #dfe4ea; --card: #fff; --page: #f5f7f9; --bar: #2f6fb2; --warn: #b4540a;
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e9ef; --soft: #98a4b1; --line: #323c47; --card: #1b222a; --page: #12171d; --bar: #6aa7e4; --warn: #f0a35e; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 14px/1.45 system-ui, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { font-size: 22px; margin: 0 0 4px; } h2 { font-size: 16px; margin: 0; overflow-wrap: anywhere; }
p, .soft { color: var(--soft); margin: 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
td, th { padding: 3px 8px; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top; }
td:first-child, th:first-child { text-align: left; padding-left: 0; overflow-wrap: anywhere; }
th { font-weight: 600; color: var(--soft); white-space: nowrap; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 16px; margin-top: 16px; overflow-x: auto; }
.head { display: flex; gap: 12px; align-items: baseline; flex-wrap: wrap; margin-bottom: 10px; }
.parts { display: flex; flex-wrap: wrap; gap: 24px; }
.parts > div { flex: 1 1 320px; min-width: 0; }
.warn { color: var(--warn); font-weight: 600; }
a { color: inherit; text-decoration-color: var(--soft); }
svg { width: 100%; max-width: 420px; height: auto; display: block; margin-top: 4px; }
svg rect { fill: var(--bar); } svg text { fill: var(--soft); font-size: 11px; } svg .value { fill: var(--ink); }
svg line { stroke: var(--line); }
"""

# From this share of missing rows on a column is pointed out.
_MUCH_MISSING = 0.5


def page_of(summary: dict[str, Any], title: str) -> str:
    """Return the page of `FilesStats.summary()`: an overview of all columns, then a card for each."""
    columns = summary["columns"]
    rows = "".join(_overview_row(index, name, column) for index, (name, column) in enumerate(columns.items()))
    cards = "".join(_card(index, name, column) for index, (name, column) in enumerate(columns.items()))
    scope = "" if summary["whole"] else " (the first of them; more were not scanned)"
    num_files = len(summary["files"])
    files = f"{num_files:,} file{'s' * (num_files != 1)}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>"
        f"<h1>{escape(title)}</h1><p>{summary['rows']:,} rows{scope}, {files}, {len(columns):,} columns</p>"
        '<section class="card" id="overview"><h2>Columns</h2><table><thead><tr><th>column</th><th>kind</th><th>missing</th>'
        f"<th>distinct</th><th>length, mean</th><th>length, max</th><th>values</th></tr></thead><tbody>{rows}</tbody></table></section>"
        f"{cards}</main></body></html>\n"
    )


def number_text(value: float) -> str:
    """Return a number in few characters."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.4g}"


def values_text(column: dict[str, Any]) -> str:
    """Return what a column holds in a few words: a range, or its most frequent value."""
    if column["kind"] in ("numbers",) and "numbers" in column:
        numbers, middle = column["numbers"], column["quantiles"]["p50"]
        return f"{number_text(numbers['min'])} … {number_text(middle)} … {number_text(numbers['max'])}"
    if column.get("top"):
        first = column["top"][0]
        return f"{_short(first['value'], 24)} {100 * first['count'] / column['values']:.1f}%"
    return "none" if column["kind"] != "unread" else "not read"


def _short(value: Any, characters: int = 40) -> str:
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value))
    if isinstance(value, float):
        text = number_text(value) if value == value and abs(value) != float("inf") else text
    text = text or "(empty)"
    return text if len(text) <= characters else text[: characters - 1] + "…"


def _percent(share: float) -> str:
    return "0" if share == 0 else f"{100 * share:.2f}%" if share < 0.1 else f"{100 * share:.1f}%"


def _missing(column: dict[str, Any]) -> str:
    text = _percent(column["missing_rate"])
    return f'<span class="warn">{text}</span>' if column["missing_rate"] >= _MUCH_MISSING else text


def _overview_row(index: int, name: str, column: dict[str, Any]) -> str:
    lengths = column.get("lengths")
    mean, longest = (f"{lengths['mean']:.2f}", f"{lengths['max']:,}") if lengths else ("", "")
    distinct = f"{column['distinct']:,}" if "distinct" in column else ""
    return (
        f'<tr><td><a href="#c{index}">{escape(name)}</a></td><td>{column["kind"]}</td><td>{_missing(column)}</td><td>{distinct}</td>'
        f"<td>{mean}</td><td>{longest}</td><td>{escape(values_text(column))}</td></tr>"
    )


def _card(index: int, name: str, column: dict[str, Any]) -> str:
    missing = f"{_missing(column)} ({column['missing']:,} rows)"
    facts = [("rows", f"{column['rows']:,}"), ("missing", missing), ("values", f"{column['values']:,}")]
    if "distinct" in column:
        facts.append(("distinct, about", f"{column['distinct']:,}"))
    for key, words in (("numbers", ""), ("quantiles", ""), ("lengths", "length, "), ("bytes", "bytes, "), ("weights", "weight, ")):
        facts += [(f"{words}{label}", number_text(value)) for label, value in column.get(key, {}).items()]
    facts += [(f"{label}", f'<span class="warn">{count:,}</span>') for label, count in column.get("not_finite", {}).items() if count]
    table = "".join(f"<tr><td>{escape(label)}</td><td>{value}</td></tr>" for label, value in facts)
    plots = ""
    if "histogram" in column:
        plots += f"<div><p>values</p>{_histogram(column['histogram'])}</div>"
    if "length_histogram" in column:
        plots += f"<div><p>lengths</p>{_histogram(column['length_histogram'])}</div>"
    if column.get("top"):
        error = column["top_count_error"]
        note = f", each at most {error:,} too low" if error else ""
        plots += f"<div><p>most frequent{note}</p>{_bars(column)}</div>"
    head = f'<div class="head"><h2>{escape(name)}</h2><span class="soft">{escape(column["type"])}</span></div>'
    body = f'<div class="parts"><div><table><tbody>{table}</tbody></table></div>{plots}</div>'
    return f'<section class="card" id="c{index}">{head}{body}</section>'


def _histogram(histogram: dict[str, Any]) -> str:
    counts, width, height = histogram["counts"], 360, 120
    most, step = max(counts, default=0) or 1, 360 / max(1, len(counts))
    bars = "".join(
        f'<rect x="{place * step + 0.5:.1f}" y="{height * (1 - count / most):.1f}" width="{max(step - 1, 0.5):.1f}" '
        f'height="{height * count / most:.1f}"><title>{count:,}</title></rect>'
        for place, count in enumerate(counts)
        if count
    )
    low, high = number_text(histogram["low"]), number_text(histogram["high"])
    labels = f'<text x="0" y="{height + 16}">{low}</text><text x="{width}" y="{height + 16}" text-anchor="end">{high}</text>'
    axis = f'<line x1="0" x2="{width}" y1="{height}" y2="{height}"/>'
    return f'<svg viewBox="0 0 {width} {height + 20}" role="img" aria-label="histogram from {low} to {high}">{bars}{axis}{labels}</svg>'


def _bars(column: dict[str, Any]) -> str:
    top, total, row = column["top"], column["values"], 22
    most = top[0]["count"] or 1
    parts = []
    for place, item in enumerate(top):
        y = place * row
        parts.append(f'<text class="value" x="0" y="{y + 14}">{escape(_short(item["value"], 26))}</text>')
        parts.append(f'<rect x="172" y="{y + 4}" width="{max(1, 120 * item["count"] / most):.1f}" height="13"/>')
        parts.append(f'<text x="360" y="{y + 14}" text-anchor="end">{_percent(item["count"] / total)}</text>')
    return f'<svg viewBox="0 0 360 {len(top) * row + 4}" role="img" aria-label="most frequent values">{"".join(parts)}</svg>'
