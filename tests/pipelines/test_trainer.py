"""The loop against a loop written by hand, its metrics against scikit-learn, and what it refuses."""

import json

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score
from torch.nn.functional import binary_cross_entropy_with_logits

from pipelines.clicks import log_lines, summary_of
from pipelines.memory import MemoryDataset, linear, rows
from sparrow.errors import CheckpointError, ConfigError, DataError, SparrowError
from sparrow.pipelines import Hook, LearningRateSchedule, Trainer, TrainerOptions
from sparrow.saver import Saver


def weights_of(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def train_by_hand(model, optimizer, batches, max_norm=None):
    """Return (logits, labels) of every step."""
    seen = []
    for batch in batches:
        logits = model(batch)
        optimizer.zero_grad()
        binary_cross_entropy_with_logits(logits, batch["label"]).backward()
        if max_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
        seen.append((logits.detach(), batch["label"]))
    return seen


@pytest.mark.parametrize("max_norm", [None, 0.05])
def test_steps_are_those_of_a_plain_loop(max_norm):
    model, optimizer = linear()
    summary = Trainer(model, optimizer, progress=False, max_grad_norm=max_norm).fit(MemoryDataset(*rows()), epochs=2)
    expected, its_optimizer = linear()
    dataset = MemoryDataset(*rows())
    train_by_hand(expected, its_optimizer, [*dataset, *dataset], max_norm)
    assert torch.equal(weights_of(model), weights_of(expected))
    assert (summary["step"], summary["samples"], summary["epochs_finished"], summary["stopped"]) == (10, 80, 2, False)


def test_log_lines_are_metrics_of_the_steps_since_the_last(tmp_path):
    model, optimizer = linear()
    Trainer(model, optimizer, progress=False, run_folder=tmp_path, log_every=3).fit(MemoryDataset(*rows(60)))
    steps = train_by_hand(*linear(), MemoryDataset(*rows(60)))
    assert len(steps) == 8
    lines = log_lines(tmp_path)
    assert [(line["step"], line["epoch"], line["samples"]) for line in lines] == [(3, 0, 24), (6, 0, 48), (8, 0, 60)]
    for line, window in zip(lines, (steps[:3], steps[3:6], steps[6:]), strict=True):
        logits, labels = (torch.cat(column) for column in zip(*window, strict=True))
        probabilities = torch.sigmoid(logits.double())
        assert line["auc"] == pytest.approx(roc_auc_score(labels, probabilities))
        assert line["log_loss"] == pytest.approx(log_loss(labels, probabilities))
        assert line["click_rate"] == pytest.approx(float(labels.mean()))
        assert line["predicted_click_rate"] == pytest.approx(float(probabilities.mean()))
        assert line["num_samples"] == labels.numel()
    assert summary_of(tmp_path)["train"] == {key: lines[-1][key] for key in ("auc", "log_loss", "click_rate", "predicted_click_rate")}


def test_evaluation_is_of_the_whole_set_and_changes_nothing():
    model, optimizer = linear()
    test = MemoryDataset(*rows(50, seed=3))
    trainer = Trainer(model, optimizer, progress=False)
    before = weights_of(model)
    metrics = trainer.evaluate(test)
    probabilities = torch.sigmoid(model.layer(test.x).squeeze(1).double()).detach()
    assert metrics["auc"] == pytest.approx(roc_auc_score(test.label, probabilities))
    assert metrics["log_loss"] == pytest.approx(log_loss(test.label, probabilities))
    assert metrics["num_samples"] == 50
    assert torch.equal(weights_of(model), before)
    assert model.training
    assert not any(model.modes)
    assert test.state_dict() == {"epoch": 1, "row": 0}


def test_training_and_evaluation_run_in_their_modes():
    model, optimizer = linear()
    model.eval()
    Trainer(model, optimizer, progress=False).fit(MemoryDataset(*rows()), evaluate_on=MemoryDataset(*rows(16)))
    assert model.modes == [True] * 5 + [False] * 2


def test_metrics_that_do_not_exist_are_null(tmp_path):
    model, optimizer = linear()
    x, label = rows()
    Trainer(model, optimizer, progress=False, run_folder=tmp_path).fit(MemoryDataset(x, torch.zeros_like(label)))
    assert '"auc": null' in (tmp_path / "summary.json").read_text()
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["auc"] is None


def test_the_summary_accounts_for_the_time(tmp_path):
    model, optimizer = linear()
    summary = Trainer(model, optimizer, progress=False, run_folder=tmp_path).fit(
        MemoryDataset(*rows(2000)), evaluate_on=MemoryDataset(*rows())
    )
    assert set(summary["seconds"]) == {"read", "forward", "backward", "optimizer", "metrics", "save", "evaluate"}
    assert all(seconds > 0 for seconds in summary["seconds"].values())
    assert summary["samples_per_second"] > 0
    assert summary["versions"]["torch"] == torch.__version__
    assert summary == summary_of(tmp_path)


def test_max_steps_count_from_the_start_of_the_run(tmp_path):
    model, optimizer = linear()
    train = MemoryDataset(*rows())
    trainer = Trainer(model, optimizer, progress=False, run_folder=tmp_path)
    assert trainer.fit(train, epochs=3, max_steps=7)["step"] == 7
    assert trainer.fit(train, epochs=3, max_steps=7)["step"] == 7
    assert trainer.fit(train, epochs=3, max_steps=9)["step"] == 9


def test_a_further_fit_continues_the_run(tmp_path):
    model, optimizer = linear()
    train = MemoryDataset(*rows())
    trainer = Trainer(model, optimizer, progress=False, run_folder=tmp_path)
    trainer.fit(train, epochs=1)
    summary = trainer.fit(train, epochs=2)
    once, its_optimizer = linear()
    Trainer(once, its_optimizer, progress=False).fit(MemoryDataset(*rows()), epochs=2)
    assert torch.equal(weights_of(model), weights_of(once))
    assert summary["step"] == 10
    assert Saver(tmp_path / "checkpoints").latest().name == "step-00000010"


def test_checkpoints_are_kept_as_asked(tmp_path):
    model, optimizer = linear()
    Trainer(model, optimizer, progress=False, run_folder=tmp_path, save_every=2, keep=2).fit(MemoryDataset(*rows(72)))
    assert [path.name for path in Saver(tmp_path / "checkpoints").checkpoints()] == ["step-00000008", "step-00000009"]


def test_an_earlier_run_is_never_overwritten(tmp_path):
    model, optimizer = linear()
    Trainer(model, optimizer, progress=False, run_folder=tmp_path).fit(MemoryDataset(*rows()))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match=r"holds an earlier run .*--resume.*or name another folder") as caught:
        Trainer(*linear(), progress=False, run_folder=tmp_path).fit(MemoryDataset(*rows()))
    assert str(tmp_path) in str(caught.value)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_resume_of_a_folder_without_a_checkpoint_starts_anew(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 50, "half')
    summary = Trainer(*linear(), progress=False, run_folder=tmp_path).fit(MemoryDataset(*rows()), resume=True)
    assert summary["step"] == 5
    assert [line["step"] for line in log_lines(tmp_path)] == [5]


def test_a_checkpoint_of_another_model_is_refused_and_the_run_left_as_it_was(tmp_path):
    options = {"progress": False, "run_folder": tmp_path}
    Trainer(*linear(), config="seed: 1\n", **options).fit(MemoryDataset(*rows()))
    wider = torch.nn.Sequential(torch.nn.Linear(3, 2))
    trainer = Trainer(wider, torch.optim.Adam(wider.parameters()), config="seed: 2\n", **options)
    with pytest.raises(CheckpointError, match=r"dense.*only in the model.*build the model the checkpoint was saved from"):
        trainer.fit(MemoryDataset(*rows()), resume=True)
    assert (tmp_path / "config.yaml").read_text() == "seed: 1\n"
    assert summary_of(tmp_path)["step"] == 5


def test_a_checkpoint_of_another_optimizer_is_refused(tmp_path):
    Trainer(*linear(), progress=False, run_folder=tmp_path).fit(MemoryDataset(*rows()))
    model, _ = linear()
    groups = [{"params": [parameter]} for parameter in model.parameters()]
    with pytest.raises(CheckpointError, match="the state of the optimizer does not fit this run"):
        Trainer(model, torch.optim.Adam(groups), progress=False, run_folder=tmp_path).fit(MemoryDataset(*rows()), resume=True)
    model, _ = linear()
    with pytest.raises(CheckpointError, match=r"the optimizer saved is Adam, this run's SGD; resume with the kind it was saved with"):
        Trainer(model, torch.optim.SGD(model.parameters()), progress=False, run_folder=tmp_path).fit(MemoryDataset(*rows()), resume=True)


@pytest.mark.parametrize("state", [{}, {"parts": {}, "kinds": {}, "counters": {}, "torch_rng": torch.get_rng_state()}])
def test_a_checkpoint_no_trainer_saved_is_refused(tmp_path, state):
    model, optimizer = linear()
    Saver(tmp_path / "checkpoints").save(3, {}, model.state_dict(), state)
    with pytest.raises(CheckpointError, match="step-00000003 holds no"):
        Trainer(model, optimizer, progress=False, run_folder=tmp_path).fit(MemoryDataset(*rows()), resume=True)


def test_a_session_without_a_step_claims_no_speed(tmp_path):
    Trainer(*linear(), progress=False, run_folder=tmp_path).fit(MemoryDataset(*rows()))
    (tmp_path / "summary.json").unlink()  # as after a kill between the last save and the summary
    summary = Trainer(*linear(), progress=False, run_folder=tmp_path).fit(MemoryDataset(*rows()), resume=True)
    assert (summary["step"], summary["samples"], summary["samples_per_second"]) == (5, 40, None)


@pytest.mark.parametrize("save_every", [None, 5])  # 5: the checkpoint is of the last step, before the epoch is counted
@pytest.mark.parametrize("length", [{"epochs": 2}, {"epochs": 9, "max_steps": 10}, {"epochs": 9, "max_steps": 7}])
def test_a_finished_run_that_is_resumed_is_left_as_it_is(tmp_path, length, save_every):
    def trainer(config):
        return Trainer(*linear(), progress=False, run_folder=tmp_path, log_every=3, save_every=save_every, config=config)

    first = trainer("a: 1\n")
    expected = first.fit(MemoryDataset(*rows()), evaluate_on=MemoryDataset(*rows(16)), **length)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    again = trainer("a: 2\n")
    train = MemoryDataset(*rows())
    summary = again.fit(train, evaluate_on=MemoryDataset(*rows(16)), resume=True, **length)
    assert summary == {**expected, "already_finished": True}
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert torch.equal(weights_of(again.model), weights_of(first.model))
    # And it can go on, as the first trainer could.
    assert again.fit(train, epochs=10)["step"] == 50
    once = tmp_path / "once"
    Trainer(*linear(), progress=False, run_folder=once, log_every=3).fit(MemoryDataset(*rows()), epochs=10)
    assert log_lines(tmp_path)[-1] == log_lines(once)[-1]


@pytest.mark.parametrize("change", [{"stopped": True}, {"eval": None}, {"step": 4}], ids=str)
def test_a_run_whose_summary_is_not_of_its_end_is_finished(tmp_path, change):
    """A session stopped in its evaluation, one that had nothing to evaluate, one killed before its summary."""

    def fit(resume):
        trainer = Trainer(*linear(), progress=False, run_folder=tmp_path)
        return trainer.fit(MemoryDataset(*rows()), evaluate_on=MemoryDataset(*rows(16)), resume=resume)

    expected = fit(False)
    (tmp_path / "summary.json").write_text(json.dumps({**summary_of(tmp_path), **change}))
    summary = fit(True)
    for key in ("stopped", "step", "epochs_finished", "samples", "train", "eval"):
        assert summary[key] == expected[key] == summary_of(tmp_path)[key]


@pytest.mark.parametrize("max_steps, epochs_finished", [(4, 0), (5, 1), (6, 1), (10, 2)])
def test_an_epoch_that_ends_with_the_last_step_is_counted(max_steps, epochs_finished):
    recorder, train = Recorder(), MemoryDataset(*rows())
    trainer = Trainer(*linear(), hooks=[recorder], progress=False)
    summary = trainer.fit(train, epochs=3, max_steps=max_steps)
    assert (summary["step"], summary["epochs_finished"]) == (max_steps, epochs_finished)
    assert [step for name, step in recorder.moments if name == "after_epoch"] == [5, 10][:epochs_finished]
    # No row is lost by looking whether there are more.
    assert train.state_dict() == {"epoch": epochs_finished, "row": max_steps % 5 * 8}
    assert trainer.fit(train, epochs=3)["samples"] == 120


def test_a_row_past_the_last_step_may_be_bad():
    class BadAfter(MemoryDataset):
        def __iter__(self):
            for index, batch in enumerate(super().__iter__()):
                if index == 3:
                    raise DataError("rows.orc, row 24: is bad")
                yield batch

    assert Trainer(*linear(), progress=False).fit(BadAfter(*rows()), max_steps=3)["step"] == 3
    with pytest.raises(DataError, match="row 24"):
        Trainer(*linear(), progress=False).fit(BadAfter(*rows()), max_steps=4)


def test_data_too_few_for_a_batch_are_refused():
    class DropsLast(MemoryDataset):
        def __iter__(self):
            yield from (batch for batch in super().__iter__() if batch.num_samples == self.batch_size)

    with pytest.raises(ConfigError, match=r"no batch: 7 rows, batches of 8; .*smaller batch_size.*tail=\"short\""):
        Trainer(*linear(), progress=False).fit(DropsLast(*rows(7)), epochs=2)
    assert Trainer(*linear(), progress=False).fit(DropsLast(*rows(9)), epochs=2)["step"] == 2


def test_resume_needs_a_run_folder():
    with pytest.raises(ConfigError, match="run_folder"):
        Trainer(*linear(), progress=False).fit(MemoryDataset(*rows()), resume=True)


def test_a_loss_that_is_not_finite_stops_before_it_spoils_the_weights():
    model, optimizer = linear()
    x, label = rows()
    x[20] = torch.inf
    with pytest.raises(SparrowError, match=r"the loss is \w+ at step 3 \(from rows.orc, row 16 on\); lower the learning rate"):
        Trainer(model, optimizer, progress=False).fit(MemoryDataset(x, label))
    assert weights_of(model).isfinite().all()


def test_bad_labels_stop_with_the_row_and_leave_earlier_checkpoints(tmp_path):
    x, label = rows()
    label[27] = torch.nan
    trainer = Trainer(*linear(), progress=False, run_folder=tmp_path, save_every=2)
    with pytest.raises(DataError, match=r"rows.orc, row 27: label column 'label' is nan; expected 0 or 1"):
        trainer.fit(MemoryDataset(x, label))
    model, optimizer = linear()
    resumed = Trainer(model, optimizer, progress=False, run_folder=tmp_path).fit(MemoryDataset(*rows()), resume=True)
    expected, its_optimizer = linear()
    train_by_hand(expected, its_optimizer, MemoryDataset(*rows()))
    assert resumed["step"] == 5
    assert torch.equal(weights_of(model), weights_of(expected))


def test_logits_of_another_shape_are_refused():
    class Column(torch.nn.Linear):
        def forward(self, batch):
            return super().forward(batch["x"])

    model = Column(3, 1)
    with pytest.raises(ConfigError, match=r"Column returned logits of shape \[8, 1\] for 8 samples; expected \[8\]"):
        Trainer(model, torch.optim.SGD(model.parameters(), lr=0.1), progress=False).fit(MemoryDataset(*rows()))


def test_another_loss_is_used():
    model, optimizer = linear()
    Trainer(model, optimizer, loss=lambda logits, labels: 0 * logits.sum(), progress=False).fit(MemoryDataset(*rows()))
    assert torch.equal(weights_of(model), weights_of(linear()[0]))


@pytest.mark.parametrize(
    "field, value", [("save_every", 0), ("keep", 0), ("log_every", -1), ("max_grad_norm", 0.0), ("max_grad_norm", np.nan)]
)
def test_options_that_can_never_be_right_are_refused(field, value):
    with pytest.raises(ConfigError, match=rf"{field} is .*expected"):
        TrainerOptions(**{field: value})


def test_options_and_fields_exclude_each_other():
    with pytest.raises(ConfigError, match="keep"):
        Trainer(*linear(), TrainerOptions(), keep=2)


class Recorder(Hook):
    """Writes down every moment, with the step."""

    def __init__(self):
        self.moments = []

    def __getattribute__(self, name):
        if name.startswith(("on_", "after_")):
            return lambda trainer, *_: self.moments.append((name, trainer.step))
        return super().__getattribute__(name)


def test_hooks_are_called_at_their_moments():
    recorder = Recorder()
    Trainer(*linear(), hooks=[recorder], progress=False, log_every=2).fit(
        MemoryDataset(*rows(24)), epochs=1, evaluate_on=MemoryDataset(*rows(8))
    )
    assert recorder.moments == [
        ("on_fit_start", 0),
        ("after_step", 1),
        ("after_step", 2),
        ("on_log", 2),
        ("after_step", 3),
        ("after_epoch", 3),
        ("on_log", 3),
        ("on_evaluation", 3),
        ("on_fit_end", 3),
        ("on_close", 3),
    ]


def test_hooks_are_closed_after_an_error():
    recorder = Recorder()
    x, label = rows()
    with pytest.raises(DataError):
        Trainer(*linear(), hooks=[recorder], progress=False).fit(MemoryDataset(x, label + 1))
    assert recorder.moments == [("on_fit_start", 0), ("on_close", 0)]


class Decay(Hook):
    """A learning rate that falls with every step: state a resume must bring back."""

    def __init__(self, optimizer):
        self.schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8)

    def after_step(self, trainer):
        self.schedule.step()

    def state_dict(self):
        return self.schedule.state_dict()

    def load_state_dict(self, state):
        self.schedule.load_state_dict(state)


def test_a_stateful_hook_is_resumed(tmp_path):
    def fit(folder, max_steps, resume=False):
        model, optimizer = linear()
        trainer = Trainer(model, optimizer, hooks=[Decay(optimizer)], progress=False, run_folder=folder)
        trainer.fit(MemoryDataset(*rows()), epochs=2, max_steps=max_steps, resume=resume)
        return weights_of(model), optimizer.param_groups[0]["lr"]

    whole, rate = fit(tmp_path / "whole", 10)
    fit(tmp_path / "parts", 4)
    resumed, resumed_rate = fit(tmp_path / "parts", 10, resume=True)
    assert torch.equal(resumed, whole)
    assert resumed_rate == rate == pytest.approx(0.1 * 0.8**10)


def test_a_stateful_hook_is_resumed_whatever_shows_the_progress(tmp_path):
    class Counter(Hook):
        def __init__(self):
            self.steps = 0

        def after_step(self, trainer):
            self.steps += 1

        def state_dict(self):
            return {"steps": self.steps}

        def load_state_dict(self, state):
            self.steps = state["steps"]

    def fit(progress, max_steps, resume, *others):
        model, optimizer = linear()
        counters = [Counter(), Counter()]
        hooks = [*others, counters[0], Decay(optimizer), counters[1]]
        trainer = Trainer(model, optimizer, hooks=hooks, progress=progress, run_folder=tmp_path)
        trainer.fit(MemoryDataset(*rows()), max_steps=max_steps, resume=resume)
        return [counter.steps for counter in counters], optimizer.param_groups[0]["lr"]

    fit(True, 2, False)
    assert fit(False, 3, True) == ([3, 3], pytest.approx(0.1 * 0.8**3))
    assert fit(True, 4, True, Hook()) == ([4, 4], pytest.approx(0.1 * 0.8**4))


@pytest.mark.parametrize("each", ["step", "epoch"])
@pytest.mark.parametrize("stop_at", [3, 5, 8])  # 5 is the last step of an epoch
def test_a_schedule_is_resumed_where_it_was(tmp_path, each, stop_at):
    def fit(folder, max_steps, resume=False):
        model, optimizer = linear()
        schedule = LearningRateSchedule(torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5), each=each)
        trainer = Trainer(model, optimizer, hooks=[schedule], progress=False, run_folder=folder)
        trainer.fit(MemoryDataset(*rows()), epochs=2, max_steps=max_steps, resume=resume)
        return weights_of(model), optimizer.param_groups[0]["lr"]

    whole, rate = fit(tmp_path / "whole", None)
    fit(tmp_path / "parts", stop_at)
    resumed, resumed_rate = fit(tmp_path / "parts", None, resume=True)
    assert torch.equal(resumed, whole)
    assert resumed_rate == rate == 0.1 * 0.5 ** (10 if each == "step" else 2)


def test_a_scheduler_that_waits_for_a_metric_is_refused():
    _, optimizer = linear()
    with pytest.raises(ConfigError, match=r"is ReduceLROnPlateau, expected one that steps without a metric; use .* or a Hook of your own"):
        LearningRateSchedule(torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer))


def test_a_schedule_of_another_pace_is_refused():
    _, optimizer = linear()
    with pytest.raises(ConfigError, match="each is 'batch', expected 'step' or 'epoch'"):
        LearningRateSchedule(torch.optim.lr_scheduler.StepLR(optimizer, 1), each="batch")
