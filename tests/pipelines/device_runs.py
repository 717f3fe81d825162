"""What `test_device_runs.py` runs, each in a process of its own: whole models on a device beside the same on the CPU.

The stand-in device of `strict_device` computes the dense part on the CPU too, so that every bit must be that of the CPU. A GPU adds in
another order: there ids and rows agree, and weights to a tolerance.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import device_scenarios
from device_scenarios import DEVICE, ON_GPU, raises, same_bits
from sparrow.embedding import EmbeddingEngine, EmbeddingOption
from sparrow.errors import DataError
from sparrow.features import Feature
from sparrow.models import DIN, DeepFM, LogisticRegression
from sparrow.optim import CombinedOptimizer, SparseOptimizer
from sparrow.tables import TableGroup, table_groups
from sparrow.types import Batch, Group, Ragged

# Where the dense part lives, and where the tables do.
PLACES = ((DEVICE, None), (DEVICE, "cpu"), ("cpu", DEVICE))
FEATURES = [Feature(name).select(name) for name in ("x", "user", "item", "genres", "past", "past_genres")]


def _batch(step: int, shared: bool) -> Batch:
    """Twelve samples; where `shared`, the histories of five users."""
    random = torch.Generator().manual_seed(step)

    def offsets_of(count: int) -> Tensor:
        return torch.cat([torch.zeros(1, dtype=torch.int64), torch.randint(0, 4, (count,), generator=random).cumsum(0)])

    def ids(count: int) -> Tensor:
        return torch.randint(0, 40, (count,), generator=random)

    genres, num_users = offsets_of(12), 5 if shared else 12
    past = offsets_of(num_users)
    past_genres = offsets_of(int(past[-1]))
    samples = {
        "x": torch.rand(12, generator=random),
        "user": ids(12),
        "item": ids(12),
        "genres": Ragged(ids(int(genres[-1])), (genres,)),
    }
    of_users = {
        "past": Ragged(ids(int(past[-1])), (past,)),
        "past_genres": Ragged(ids(int(past_genres[-1])), (past, past_genres)),
    }
    if not shared:
        return Batch.of({**samples, **of_users})  # type: ignore[dict-item]
    sample_to_row = torch.randint(0, num_users, (12,), generator=random)
    return Batch({"sample": Group(samples, 12), "user": Group(of_users, num_users, sample_to_row)})  # type: ignore[arg-type]


def _model(kind: type[nn.Module], **places: Any) -> nn.Module:
    torch.manual_seed(1)
    inputs: dict[str, Any] = {
        "dense": ["x"],
        "sparse": ["user", "item", "genres"],
        "rule": "sgd" if ON_GPU else "adam",
        "seed": 2,
        **places,
    }
    if kind is DIN:
        inputs |= {"sequences": [{"past": "item", "past_genres": "genres"}], "hidden": (6,), "attention_hidden": (5,)}
    if kind is DeepFM:
        inputs["hidden"] = (6,)
    return kind(FEATURES, **inputs, **({} if kind is LogisticRegression else {"dim": 4}))


def _train(model: nn.Module, place: torch.device | str) -> list[Tensor]:
    """Return the logits of two steps, by hand as a script does, on the CPU."""
    optimizer = CombinedOptimizer(torch.optim.SGD(model.parameters(), lr=0.1), SparseOptimizer(model, lr=0.1))
    outputs = []
    for step in range(2):
        logits = model(_batch(step, shared=step == 1).to(place))
        optimizer.zero_grad()
        logits.square().sum().backward()
        optimizer.step()
        outputs.append(logits.detach().cpu())
    return outputs


def same(one: Tensor, two: Tensor) -> bool:
    """Return whether two tensors agree: on the stand-in to the bit."""
    one, two = one.detach().cpu().reshape(-1), two.detach().cpu().reshape(-1)
    return torch.allclose(one, two, rtol=1e-4, atol=1e-5) if ON_GPU else same_bits(one, two)


def check_tables(mine: list[TableGroup], theirs: list[TableGroup]) -> None:
    for one, two in zip(mine, theirs, strict=True):
        assert one.name == two.name
        for ours, other in zip(one.export(), two.export(), strict=True):
            assert torch.equal(ours.ids, other.ids)
            assert same(ours.weights, other.weights)
            assert ours.slots.keys() == other.slots.keys()
            assert all(same(ours.slots[name], other.slots[name]) for name in ours.slots)
        assert one.num_rows == two.num_rows > 20


def models_of_the_zoo_train_alike() -> None:
    with device_scenarios.device():
        for kind in (LogisticRegression, DeepFM, DIN):
            here = _model(kind)
            expected = _train(here, "cpu")
            for place, table_place in PLACES:
                there = _model(kind, device=place, table_device=table_place)
                batches_at = place if table_place is None else table_place
                assert {parameter.device for parameter in there.parameters()} == {torch.device(place)}
                assert {group.device for group in table_groups(there)} == {torch.device(batches_at)}
                outputs = _train(there, batches_at)
                assert all(same(one, two) for one, two in zip(outputs, expected, strict=True)), (kind, place, table_place)
                check_tables(table_groups(there), table_groups(here))
                for (name, one), two in zip(there.state_dict().items(), here.state_dict().values(), strict=True):
                    assert not isinstance(one, Tensor) or same(one, two), (kind, name)
            elsewhere = _batch(0, False).to(DEVICE)
            assert "Batch.to('cpu')" in raises(DataError, lambda: here(elsewhere))  # noqa: B023


def _content(folder: Path, name: str, model: dict[str, Any], **run: Any) -> dict[str, Any]:
    from pipelines.clicks import config_for

    content = config_for(folder / "train", folder / "eval", folder / name, **{"epochs": 1, "max_steps": 3, **run})
    content["model"] = model
    content["optimizer"] = {"dense": {"name": "sgd", "lr": 0.1}, "sparse": {"rule": "sgd" if ON_GPU else "adam", "lr": 0.1}}
    return content


def configured_runs_are_those_of_the_cpu() -> None:
    """`run.device` and `run.table_device`: checkpoints, metrics, evaluation elsewhere, and a run that goes on elsewhere."""
    from pipelines.clicks import log_lines, rows_and_weights, write_clicks, write_config
    from pipelines.memory import MemoryDataset, linear, rows
    from sparrow.pipelines import Trainer
    from sparrow.pipelines.evaluation import owners_of_batches, place_of_batches
    from sparrow.pipelines.load_config import load_run_config
    from sparrow.pipelines.run import evaluate_run, train_run

    inputs: dict[str, Any] = {"dense": ["i{1,2}"], "dim": 4, "hidden": [8]}
    models: list[dict[str, Any]] = [
        {**inputs, "name": "deepfm", "sparse": ["c{1..2}", "title"]},
        {**inputs, "name": "din", "sparse": ["c1", "title"], "sequences": [{"c2": "c1"}]},
    ]
    with device_scenarios.device(), tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_clicks(folder / "train", num_files=1, rows_per_file=96)
        write_clicks(folder / "eval", num_files=1, rows_per_file=40, seed=7)

        def train(name: str, model: dict[str, Any], resume: bool = False, **run: Any) -> dict[str, Any]:
            path = write_config(folder / "run.yaml", _content(folder, name, model, **run))
            return train_run(load_run_config(path), resume=resume, progress=False)

        def check(name: str, other: str) -> None:
            if not ON_GPU:
                assert rows_and_weights(folder / name) == rows_and_weights(folder / other)
                assert log_lines(folder / name) == log_lines(folder / other)

        def close(found: dict[str, Any], expected: dict[str, Any]) -> bool:
            return abs(found["log_loss"] - expected["log_loss"]) <= (1e-4 if ON_GPU else 0.0)

        # Each run begins in one place and goes on in another.
        first, then = {"device": str(DEVICE)}, {"device": "cpu"}
        for model in models:
            kind = model["name"]
            expected = train(f"{kind} cpu", model)
            train(kind, model, **first, max_steps=2)
            found = train(kind, model, resume=True, **then)
            assert found["table_rows"] == expected["table_rows"]
            assert close(found["eval"], expected["eval"])
            check(kind, f"{kind} cpu")
            assert close(evaluate_run(folder / kind, None, {"run.device": str(DEVICE)}), expected["eval"])
            first, then = {"device": str(DEVICE), "table_device": "cpu"}, {"device": str(DEVICE)}
        # A model without tables gets its batches where its weights are; one whose tables are divided gets them as they are read.
        logs = []
        for place in ("cpu", DEVICE):
            alone, _ = linear()
            alone.to(place)
            trainer = Trainer(alone, torch.optim.SGD(alone.parameters(), lr=0.1), progress=False)
            logs.append(trainer.fit(MemoryDataset(*rows()), evaluate_on=MemoryDataset(*rows(seed=1)))["eval"]["log_loss"])
        assert abs(logs[0] - logs[1]) <= (1e-4 if ON_GPU else 0.0)
        divided = EmbeddingEngine({"a": EmbeddingOption(dim=2), "b": EmbeddingOption(dim=2, device=DEVICE)})
        assert place_of_batches(owners_of_batches(divided)) is None


def dropout_goes_on_where_it_was() -> None:
    """The generator of the device is part of a checkpoint."""
    from pipelines.clicks import write_clicks
    from sparrow.pipelines.run import train_run
    from sparrow.pipelines.run_config import RunConfig

    assert ON_GPU, "only a GPU has a generator of its own"
    model = {"name": "deepfm", "dense": ["i{1,2}"], "sparse": ["c1"], "dim": 4, "hidden": [8], "dropout": 0.5}
    generators = []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_clicks(folder / "train", num_files=1, rows_per_file=160)
        write_clicks(folder / "eval", num_files=1, rows_per_file=40, seed=7)
        for name, sessions in (("whole", (4,)), ("parts", (2, 4))):
            for number, max_steps in enumerate(sessions):
                config = RunConfig.model_validate(_content(folder, name, model, max_steps=max_steps, device="cuda"))
                train_run(config, resume=number > 0, progress=False)
            generators.append(torch.cuda.get_rng_state())
    assert torch.equal(*generators)
