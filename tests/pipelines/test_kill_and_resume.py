"""Kill -9, Ctrl-C and SIGTERM, then --resume: the same bits as a run that nothing interrupted."""

import pytest

from pipelines.clicks import config_for, log_lines, optimizer_and_generator, rows_and_weights, summary_of, write_config
from sparrow.saver import Saver

# 600 rows in batches of 32: 19 steps an epoch, the last of 24 rows; two epochs.
STEPS, STEPS_PER_EPOCH = 38, 19


def signal_at(step, number, times=1):
    """Code that makes a process send itself a signal after a step, before that step is logged and saved."""
    return f"""
import os, sparrow.pipelines.trainer as trainer
class Signal(trainer.Hook):
    def after_step(self, running):
        if running.step == {step}:
            for _ in range({times}):
                os.kill(os.getpid(), {number})
real = trainer.progress_hooks
trainer.progress_hooks = lambda wanted: [*real(wanted), Signal()]
"""


def kill_after_save_of(step):
    """Code that makes a process kill itself as soon as the checkpoint of `step` has its name."""
    return f"""
import os, sparrow.saver
real = sparrow.saver.Saver.save
def save(self, step, *arguments):
    real(self, step, *arguments)
    if step == {step}:
        os.kill(os.getpid(), 9)
sparrow.saver.Saver.save = save
"""


@pytest.fixture(scope="session")
def uninterrupted(clicks, sparrow, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    config = config_for(clicks / "train", clicks / "eval", folder / "run")
    done = sparrow("train", write_config(folder / "run.yaml", config))
    assert done.code == 0, done.err
    assert summary_of(folder / "run")["step"] == STEPS
    return folder / "run"


def assert_same_run(run, expected):
    assert rows_and_weights(run) == rows_and_weights(expected)
    state = optimizer_and_generator(run)
    assert state == optimizer_and_generator(expected)
    assert state["optimizer"]["dense"]["state"]
    assert log_lines(run) == log_lines(expected)
    ours, theirs = summary_of(run), summary_of(expected)
    for key in ("stopped", "step", "epochs_finished", "samples", "train", "eval", "table_rows"):
        assert ours[key] == theirs[key], key
    assert ours["eval"]["num_samples"] == 200


@pytest.mark.parametrize(
    "save_every, before",
    [
        (13, kill_after_save_of(13)),
        (STEPS_PER_EPOCH, kill_after_save_of(STEPS_PER_EPOCH)),  # between two epochs
        (13, signal_at(31, 9)),  # five steps after the save of step 26: they are made again
    ],
    ids=["at_a_save", "at_a_save_between_epochs", "after_a_save"],
)
def test_killed_and_resumed_is_bit_identical(clicks, sparrow, tmp_path, uninterrupted, save_every, before):
    config = config_for(clicks / "train", clicks / "eval", tmp_path / "run", save_every=save_every)
    path = write_config(tmp_path / "run.yaml", config)
    killed = sparrow("train", path, before=before)
    assert killed.code == -9
    assert not (tmp_path / "run" / "summary.json").exists()
    resumed = sparrow("train", path, "--resume")
    assert resumed.code == 0, resumed.err
    assert_same_run(tmp_path / "run", uninterrupted)


@pytest.mark.parametrize("name, number, step", [("SIGTERM", 15, 17), ("SIGINT", 2, STEPS_PER_EPOCH + 1)])
def test_a_signal_saves_and_exits_cleanly(clicks, sparrow, tmp_path, uninterrupted, name, number, step):
    run = tmp_path / "run"
    path = write_config(tmp_path / "run.yaml", config_for(clicks / "train", clicks / "eval", run))
    stopped = sparrow("train", path, before=signal_at(step, number))
    assert stopped.code == 0
    assert f"stopped by {name} after step {step}; saved in {run}, continue with --resume" in stopped.err
    assert "Traceback" not in stopped.err
    summary = summary_of(run)
    assert (summary["stopped"], summary["step"], summary["eval"]) == (True, step, None)
    assert Saver(run / "checkpoints").latest().name == f"step-{step:08d}"
    assert sparrow("train", path, "--resume").code == 0
    assert_same_run(run, uninterrupted)


def test_a_second_ctrl_c_ends_at_once(clicks, sparrow, tmp_path):
    path = write_config(tmp_path / "run.yaml", config_for(clicks / "train", None, tmp_path / "run"))
    done = sparrow("train", path, before=signal_at(5, 2, times=2))
    assert done.code == 130
    assert done.err.splitlines()[-1] == "interrupted"
    assert "Traceback" not in done.err
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_resuming_a_finished_run_changes_nothing(clicks, sparrow, tmp_path, uninterrupted):
    run = tmp_path / "run"
    path = write_config(tmp_path / "run.yaml", config_for(clicks / "train", clicks / "eval", run))
    assert sparrow("train", path).code == 0
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    again = sparrow("train", path, "--resume")
    assert again.code == 0
    assert again.out.startswith("already finished: nothing was changed")
    assert f"done after {STEPS} steps" in again.out
    assert {file: file.read_bytes() for file in run.rglob("*") if file.is_file()} == before
    assert_same_run(run, uninterrupted)
