"""The run folder: checked before the training, written whole or not at all, every failure one line that names it."""

import errno
import os

import pytest

from pipelines.memory import MemoryDataset, linear, rows
from sparrow.errors import ConfigError
from sparrow.pipelines import RunFolder, Trainer
from sparrow.saver import Saver


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot write to the run folder .*file/run: Not a directory; free space or permissions"):
        RunFolder(tmp_path / "file" / "run", resume=False)


def test_a_read_only_folder_is_refused_before_training(tmp_path):
    if os.getuid() == 0:
        pytest.skip("root may write everywhere: tests/cli/test_bad_input.py does this as another user")
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="Permission denied"):
        RunFolder(tmp_path, resume=False)


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_a_disk_that_refuses_is_found_before_training(tmp_path, monkeypatch, number):
    def refuse(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    model, optimizer = linear()
    with pytest.raises(ConfigError, match=f"cannot write to the run folder {tmp_path}: {os.strerror(number)}"):
        Trainer(model, optimizer, progress=False, run_folder=tmp_path).fit(MemoryDataset(*rows()))
    assert model.modes == []
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_during_training_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    class Fills(RunFolder):
        def append_metrics(self, line):
            if line["step"] == 4:
                monkeypatch.setattr("pathlib.Path.open", full)
            super().append_metrics(line)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("sparrow.pipelines.trainer.RunFolder", Fills)
    trainer = Trainer(*linear(), progress=False, run_folder=tmp_path, save_every=2, log_every=1)
    with pytest.raises(ConfigError, match=r"No space left on device; free space"):
        trainer.fit(MemoryDataset(*rows()))
    monkeypatch.undo()
    assert [path.name for path in Saver(tmp_path / "checkpoints").checkpoints()] == ["step-00000002"]
    resumed = Trainer(*linear(), progress=False, run_folder=tmp_path).fit(MemoryDataset(*rows()), resume=True)
    assert resumed["step"] == 5


def test_lines_after_the_checkpoint_and_half_lines_are_cut(tmp_path):
    folder = RunFolder(tmp_path, resume=False)
    for step in (10, 20, 30):
        folder.append_metrics({"step": step})
    with (tmp_path / "metrics.jsonl").open("ab") as stream:
        stream.write(b'{"step": 40, "los\xff')
    folder.cut_metrics(30)
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 10}\n{"step": 20}\n{"step": 30}\n'
    folder.cut_metrics(15)
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 10}\n'


def test_a_summary_is_replaced_whole(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path, resume=False)
    folder.write_summary({"step": 1})
    before = (tmp_path / "summary.json").read_text()

    def refuse(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(ConfigError, match="No space left on device"):
        folder.write_summary({"step": 2})
    assert (tmp_path / "summary.json").read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


@pytest.mark.parametrize("name", ["metrics.jsonl", "summary.json", "checkpoints"])
def test_any_trace_of_an_earlier_run_is_refused(tmp_path, name):
    (tmp_path / name).write_text("")
    with pytest.raises(ConfigError, match=rf"{tmp_path} holds an earlier run \({name}\); continue it with --resume"):
        RunFolder(tmp_path, resume=False)
    RunFolder(tmp_path, resume=True)
