"""What a person sees while a run goes on: hooks that print."""

from __future__ import annotations

import sys
import time
from typing import Any

from sparrow.pipelines.hooks import Hook, RunningTrainer

# Between looks at the running metrics: they are for eyes, and cost a sort.
_SECONDS_BETWEEN_LOOKS = 0.5


class LineProgress(Hook):
    """One line on stderr a log, an evaluation, a stop: what fits a log file."""

    def line(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def on_log(self, trainer: RunningTrainer, line: dict[str, Any]) -> None:
        self.line(f"epoch {line['epoch'] + 1}  step {line['step']:,}  {describe(line)}")

    def on_evaluation(self, trainer: RunningTrainer, metrics: dict[str, Any]) -> None:
        self.line(f"evaluation: {describe(metrics)}  {metrics['num_samples']:,} samples")

    def on_stop(self, trainer: RunningTrainer, signal_name: str) -> None:
        folder = trainer.options.run_folder
        where = "; nothing was saved, there is no run folder" if folder is None else f"; saved in {folder}, continue with --resume"
        self.line(f"stopped by {signal_name} after step {trainer.step:,}{where}")


class BarProgress(LineProgress):
    """A bar on the terminal with epoch, step, samples/s, loss, AUC and table rows. Needs rich."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns = ("{task.description}", BarColumn(bar_width=24), TaskProgressColumn(), "{task.fields[text]}", "eta", TimeRemainingColumn())
        self._bar = Progress(
            *(TextColumn(column) if isinstance(column, str) else column for column in columns),
            console=Console(stderr=True),
            refresh_per_second=4,
        )
        self._task = self._bar.add_task("training", total=None, text="", start=False)
        self._text, self._looked_at = "", float("-inf")

    def line(self, text: str) -> None:
        self._bar.console.print(text, highlight=False, markup=False)

    def on_fit_start(self, trainer: RunningTrainer, total_samples: int | None) -> None:
        self._bar.start()
        self._bar.start_task(self._task)
        self._bar.update(self._task, total=total_samples, completed=trainer.num_samples)

    def after_step(self, trainer: RunningTrainer) -> None:
        now = time.monotonic()
        # A line is over more steps than what has run since, so it is shown from the first on.
        if not trainer.last_train and now - self._looked_at >= _SECONDS_BETWEEN_LOOKS:
            self._text, self._looked_at = describe(trainer.running_metrics()), now
        description = f"epoch {trainer.epoch + 1} step {trainer.step:,}"
        self._bar.update(
            self._task, completed=trainer.num_samples, description=description, text=describe(trainer.last_train) or self._text
        )

    def on_log(self, trainer: RunningTrainer, line: dict[str, Any]) -> None:
        self._bar.update(self._task, text=describe(line))

    def on_close(self, trainer: RunningTrainer) -> None:
        self._bar.stop()


def progress_hooks(wanted: bool) -> list[Hook]:
    """Return a bar where stderr is a terminal and rich is there, lines elsewhere, nothing where not `wanted`."""
    if not wanted:
        return []
    if sys.stderr.isatty():
        try:
            return [BarProgress()]
        except ImportError:
            return [LineProgress()]
    return [LineProgress()]


def describe(fields: dict[str, Any]) -> str:
    """Return the figures of a log line as text: those that are there."""
    parts = []
    if fields.get("samples_per_second") is not None:
        parts.append(f"{fields['samples_per_second']:,.0f} samples/s")
    if fields.get("log_loss") is not None:
        parts.append(f"loss {fields['log_loss']:.4f}")
    if fields.get("auc") is not None:
        parts.append(f"AUC {fields['auc']:.4f}")
    if fields.get("gauc") is not None:
        parts.append(f"GAUC {fields['gauc']:.4f}")
    if fields.get("table_rows") is not None:
        parts.append(f"{fields['table_rows']:,} rows")
    parts += [f"{value:,g} {name.replace('_', ' ')}" for name, value in fields.get("reader", {}).items()]
    return "  ".join(parts)
