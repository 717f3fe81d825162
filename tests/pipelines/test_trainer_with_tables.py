"""The trainer over a model with tables: what evaluation may touch, one norm for both halves, and a run in two sessions."""

import pytest
import torch

from pipelines.clicks import config_for, log_lines, optimizer_and_generator, rows_and_weights
from pipelines.memory import MemoryDataset, linear, rows
from sparrow.errors import ConfigError
from sparrow.optim import CombinedOptimizer, SparseOptimizer
from sparrow.pipelines import LearningRateSchedule, Trainer
from sparrow.pipelines.run import train_run
from sparrow.pipelines.run_config import RunConfig
from sparrow.tables import table_groups


@pytest.fixture
def parts(clicks, tmp_path):
    """Model, optimizer and rows of a run with plain gradient descent at rate 1, from rows of zeros."""
    content = config_for(clicks / "train", clicks / "eval", tmp_path / "run")
    content["model"] |= {"initializer": {"constant": {"value": 0.0}}, "dropout": 0.0}
    content["optimizer"] = {"dense": {"name": "sgd", "lr": 1.0}, "sparse": {"rule": "sgd", "lr": 1.0}}
    config = RunConfig.model_validate(content)
    model = config.build_model()
    return model, config.build_optimizer(model), lambda paths: config.build_dataset(str(clicks / paths), model, 32)


def test_evaluation_only_reads_tables(parts):
    model, optimizer, dataset = parts
    trainer = Trainer(model, optimizer, progress=False)
    assert trainer.evaluate(dataset("eval"))["num_samples"] == 200
    assert [group.num_rows for group in table_groups(model)] == [0, 0]
    summary = trainer.fit(dataset("train"), max_steps=4)
    counted = {group.name: group.num_rows for group in table_groups(model)}
    assert all(counted.values())
    assert summary["table_rows"] == counted
    first = trainer.evaluate(dataset("eval"))
    assert {group.name: group.num_rows for group in table_groups(model)} == counted
    assert trainer.evaluate(dataset("eval")) == first


def test_max_grad_norm_is_the_norm_over_dense_weights_and_rows(parts):
    model, optimizer, dataset = parts
    before = {name: value.detach().double().clone() for name, value in model.named_parameters() if value.numel()}
    Trainer(model, optimizer, progress=False, max_grad_norm=0.01).fit(dataset("train"), max_steps=1)
    moved = [value.detach().double() - before[name] for name, value in model.named_parameters() if name in before]
    rows_moved = [chunk.weights.double() for group in table_groups(model) for chunk in group.export()]
    squares = [float(change.square().sum()) for change in (*moved, *rows_moved)]
    # At rate 1 from zeros, the changes are the clipped gradients: float32 weights of about 1 round a change to 1e-7.
    assert sum(squares) ** 0.5 == pytest.approx(0.01, rel=1e-4)
    assert sum(squares[: len(moved)]) > 0
    assert sum(squares[len(moved) :]) > 0


def test_a_run_in_two_sessions_of_one_process_is_bit_identical(clicks, tmp_path):
    def run(folder, **settings):
        return RunConfig.model_validate(config_for(clicks / "train", clicks / "eval", tmp_path / folder, **settings))

    whole = train_run(run("whole"), progress=False)
    train_run(run("parts", max_steps=23), progress=False)
    torch.rand(7)  # what the process drew in between must not matter
    resumed = train_run(run("parts"), resume=True, progress=False)
    assert resumed["eval"] == whole["eval"]
    for compared in (rows_and_weights, optimizer_and_generator, log_lines):
        assert compared(tmp_path / "parts") == compared(tmp_path / "whole")


SCHEDULERS = {
    "cyclic": lambda optimizer: torch.optim.lr_scheduler.CyclicLR(optimizer, 0.01, 0.1, step_size_up=3, cycle_momentum=False),
    "one_cycle": lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=9, cycle_momentum=False),
    "cosine": lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 5),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedulers_drive_both_halves_and_resume(clicks, tmp_path, name):
    def fit(folder, max_steps, resume=False):
        config = RunConfig.model_validate(config_for(clicks / "train", None, tmp_path / folder))
        model = config.build_model()
        optimizer = config.build_optimizer(model)
        trainer = Trainer(
            model, optimizer, hooks=[LearningRateSchedule(SCHEDULERS[name](optimizer))], progress=False, run_folder=tmp_path / folder
        )
        trainer.fit(config.build_dataset(config.data.train, model, 32), max_steps=max_steps, resume=resume)
        return [(group["lr"], group["initial_lr"]) for group in optimizer.param_groups]

    rates = fit("whole", 8)
    assert len(rates) > 1
    assert all(rate != first for rate, first in rates)
    fit("parts", 4)
    assert fit("parts", 8, resume=True) == rates
    assert rows_and_weights(tmp_path / "parts") == rows_and_weights(tmp_path / "whole")


def test_the_loss_falls_on_rows_that_can_be_told_apart(tmp_path):
    x, _ = rows(200)
    Trainer(*linear(), progress=False, run_folder=tmp_path, log_every=25).fit(MemoryDataset(x, (x[:, 0] > 0).float()), epochs=4)
    losses = [line["log_loss"] for line in log_lines(tmp_path)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] / 2
    assert log_lines(tmp_path)[-1]["auc"] > 0.99


def test_tables_that_no_sparse_optimizer_trains_are_refused(parts):
    model, optimizer, _ = parts
    for other in (optimizer.dense, torch.optim.Adam(model.parameters())):
        with pytest.raises(ConfigError, match=r"no SparseOptimizer trains table group 'embedding.*CombinedOptimizer"):
            Trainer(model, other, progress=False)
    some = CombinedOptimizer(optimizer.dense, SparseOptimizer(table_groups(model)[:1]))
    with pytest.raises(ConfigError, match=f"'{table_groups(model)[1].name}'"):
        Trainer(model, some, progress=False)
