"""What a person sees: a bar on a terminal, lines elsewhere, nothing when not asked."""

import io
import re
import sys

import pytest

from pipelines.clicks import log_lines
from pipelines.memory import MemoryDataset, linear, rows
from sparrow.pipelines import Hook, Trainer


class Terminal(io.StringIO):
    def isatty(self):
        return True


def fit(**options):
    return Trainer(*linear(), log_every=2, **options).fit(MemoryDataset(*rows(32)), epochs=2, evaluate_on=MemoryDataset(*rows(16)))


def test_a_terminal_gets_a_bar(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    summary = fit()
    shown = terminal.getvalue()
    for text in ("epoch 2 step 8", "100%", "samples/s", f"loss {summary['train']['log_loss']:.4f}", "AUC ", "0 rows", "evaluation: "):
        assert text in shown, text


class Looks(Hook):
    """Reads the text beside the bar after every step."""

    def __init__(self):
        self.texts = []

    def after_step(self, trainer):
        bar = trainer.hooks[0]._bar
        self.texts.append(bar.tasks[0].fields["text"])


def test_the_bar_shows_figures_from_the_first_step_on(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    now = iter([10.0, 10.1, 10.2, 10.6])  # a look at the metrics every half second
    monkeypatch.setattr("sparrow.pipelines.progress.time.monotonic", lambda: next(now))
    looks, computed = Looks(), []
    trainer = Trainer(*linear(), hooks=[looks])
    real = trainer.running_metrics
    trainer.running_metrics = lambda: computed.append(trainer.step) or real()
    trainer.fit(MemoryDataset(*rows(32)))
    assert computed == [1, 4, 4]  # and once for the line at the end
    assert all(re.fullmatch(r"[\d,]+ samples/s  loss 0\.\d{4}  AUC [01]\.\d{4}  0 rows", text) for text in looks.texts), looks.texts
    assert looks.texts[0] == looks.texts[1] == looks.texts[2] != looks.texts[3]


def test_what_the_bar_computes_changes_no_line(monkeypatch, tmp_path):
    monkeypatch.setattr("sparrow.pipelines.progress._SECONDS_BETWEEN_LOOKS", 0.0)
    for name, stream in (("bar", Terminal()), ("lines", io.StringIO())):
        monkeypatch.setattr(sys, "stderr", stream)
        fit(run_folder=tmp_path / name)
    assert log_lines(tmp_path / "bar") == log_lines(tmp_path / "lines")


def test_a_file_gets_lines(capsys):
    summary = fit()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[:2] for line in lines[:4]] == [
        ["epoch 1", "step 2"],
        ["epoch 1", "step 4"],
        ["epoch 2", "step 6"],
        ["epoch 2", "step 8"],
    ]
    evaluation = summary["eval"]
    assert lines[4:] == [f"evaluation: loss {evaluation['log_loss']:.4f}  AUC {evaluation['auc']:.4f}  16 samples"]


def test_silence_is_silent(capsys):
    fit(progress=False)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_without_rich_a_terminal_gets_lines(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    for name in ("rich.console", "rich.progress"):
        monkeypatch.setitem(sys.modules, name, None)
    fit()
    assert "epoch 1  step 2  " in terminal.getvalue()


def test_the_bar_is_taken_down_after_an_error(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    x, label = rows()
    with pytest.raises(Exception, match="expected 0 or 1"):
        Trainer(*linear()).fit(MemoryDataset(x, label + 2))
    # A second live bar on one console is an error of rich.
    assert fit()["step"] == 8
