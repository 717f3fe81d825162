"""What a person sees: a bar on a terminal, lines elsewhere, nothing when not asked."""

import io
import sys

import pytest

from pipelines.memory import MemoryDataset, linear, rows
from sparrow.pipelines import Trainer


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
