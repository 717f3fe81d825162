"""What a person sees while a run goes on."""

from __future__ import annotations

import sys
from typing import Any, Protocol


class Progress(Protocol):
    """Shows the state of a run. `show` is called every step, `line` for what must stay visible."""

    def start(self, total_samples: int | None, done_samples: int) -> None: ...
    def show(self, samples: int, fields: dict[str, Any]) -> None: ...
    def line(self, text: str) -> None: ...
    def stop(self) -> None: ...


class SilentProgress:
    """Shows nothing."""

    def start(self, total_samples: int | None, done_samples: int) -> None:
        pass

    def show(self, samples: int, fields: dict[str, Any]) -> None:
        pass

    def line(self, text: str) -> None:
        pass

    def stop(self) -> None:
        pass


class LineProgress(SilentProgress):
    """Lines on stderr, for logs: those of `line` only."""

    def line(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class BarProgress:
    """A bar on the terminal with samples/s, loss, AUC and table rows."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns = ("{task.description}", BarColumn(bar_width=24), TaskProgressColumn(), "{task.fields[text]}", "eta", TimeRemainingColumn())
        self._bar = RichProgress(
            *(TextColumn(c) if isinstance(c, str) else c for c in columns), console=Console(stderr=True), refresh_per_second=4
        )
        self._task = self._bar.add_task("training", total=None, text="", start=False)

    def start(self, total_samples: int | None, done_samples: int) -> None:
        self._bar.start()
        self._bar.start_task(self._task)
        self._bar.update(self._task, total=total_samples, completed=done_samples)

    def show(self, samples: int, fields: dict[str, Any]) -> None:
        self._bar.update(
            self._task, completed=samples, description=f"epoch {fields['epoch'] + 1} step {fields['step']:,}", text=describe(fields)
        )

    def line(self, text: str) -> None:
        self._bar.console.print(text, highlight=False)

    def stop(self) -> None:
        self._bar.stop()


def progress_for(wanted: bool) -> Progress:
    """Return a bar where stderr is a terminal and rich is there, lines elsewhere, silence where not `wanted`."""
    if not wanted:
        return SilentProgress()
    if sys.stderr.isatty():
        try:
            return BarProgress()
        except ImportError:
            return LineProgress()
    return LineProgress()


def describe(fields: dict[str, Any]) -> str:
    """Return the figures of a log line as text: those that are there."""
    parts = []
    if fields.get("samples_per_second") is not None:
        parts.append(f"{fields['samples_per_second']:,.0f} samples/s")
    if fields.get("log_loss") is not None:
        parts.append(f"loss {fields['log_loss']:.4f}")
    if fields.get("auc") is not None:
        parts.append(f"AUC {fields['auc']:.4f}")
    if fields.get("table_rows") is not None:
        parts.append(f"{fields['table_rows']:,} rows")
    return "  ".join(parts)
