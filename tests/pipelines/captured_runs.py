"""What `test_captured_runs.py` runs, each in a process of its own: trainers whose captured steps hold transforms of every kind.

On the stand-in device of `strict_device` every bit must be that of eager steps on the CPU; a GPU adds in another order.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from device_scenarios import DEVICE, ON_GPU, raises
from pipelines.clicks import log_lines, optimizer_and_generator, rows_and_weights
from pipelines.device_steps import SAMPLES, Batches, Setting, check_same, check_same_lines, device
from sparrow.errors import DataError
from sparrow.features import Feature
from sparrow.models import DIN, DeepFM
from sparrow.optim import CombinedOptimizer, SparseOptimizer
from sparrow.pipelines import Hook
from sparrow.saver import Saver
from sparrow.tables import Normal, placement, table_groups
from sparrow.types import Batch, Column, Ragged, RowSpan

WORDS = ["", "a", "bc", "ähm", "word", "a longer word"]


def offsets_of(lengths: Sequence[int]) -> Tensor:
    return torch.tensor([0, *lengths]).cumsum(0)


def strings_of(rows: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return the bytes of strings and where each ends."""
    encoded = [row.encode() for row in rows]
    return torch.tensor(list(b"".join(encoded)), dtype=torch.uint8), offsets_of([len(row) for row in encoded])


def batch_of(number: int, samples: int = SAMPLES, *, longest: int = 2) -> Batch:
    """Return numbers, ids, lists of ids, a string, lists of up to `longest` strings, and a history of items, each of several kinds."""
    random = torch.Generator().manual_seed(number)

    def lengths(count: int, most: int) -> list[int]:
        drawn: list[int] = torch.randint(0, most + 1, (count,), generator=random).tolist()
        return drawn

    def ids(count: int, most: int = 60) -> Tensor:
        return torch.randint(0, most, (count,), generator=random)

    def words(count: int) -> list[str]:
        return [WORDS[place] for place in ids(count, len(WORDS)).tolist()]

    price, genres, tags, past = (lengths(samples, most) for most in (1, 4, longest, 3))
    kinds = lengths(sum(past), 2)
    title, title_ends = strings_of(words(samples))
    tag, tag_ends = strings_of(words(sum(tags)))
    columns: dict[str, Column] = {
        "price": Ragged(torch.rand(sum(price), generator=random) * 9, (offsets_of(price),)),
        "x": torch.randn(samples, generator=random),
        "user": ids(samples),
        "item": ids(samples),
        "genres": Ragged(ids(sum(genres)), (offsets_of(genres),)),
        "title": Ragged(title, (title_ends,)),
        "tags": Ragged(tag, (offsets_of(tags), tag_ends)),
        "past": Ragged(ids(sum(past)), (offsets_of(past),)),
        "kinds": Ragged(ids(sum(kinds), 20), (offsets_of(past), offsets_of(kinds))),
        "label": torch.randint(0, 2, (samples,), generator=random).float(),
    }
    return Batch.of(columns, origin=(RowSpan("rows.orc", SAMPLES * number, samples),))


def features() -> list[Feature]:
    return [
        Feature("price").select("price").fill(0.0).log1p(),
        Feature("x").select("x").finite("count").clip(-2, 2),
        Feature("level").select("x").bucketize([-1, 0, 0.5]),
        Feature("user").select("user").hash("farm").mod(50),
        Feature("item").select("item").mod(40),
        Feature("genres").select("genres").truncate(3).unique(),
        Feature("title").select("title").vocabulary(WORDS),
        Feature("tags").select("tags").hash("farm").mod(30),
        Feature("past").select("past").truncate(3, keep="tail").mod(40),
        Feature("kinds").select("kinds").truncate(3, keep="tail").mod(12),
    ]


INPUTS: dict[str, Any] = {"dense": ["price", "x"], "sparse": ["level", "user", "item", "genres", "title", "tags"], "dim": 3, "hidden": (5,)}


class Whole(Setting):
    """A model of `features` and its optimizers, whose dense half may be captured."""

    def __init__(self, place: torch.device | str, kind: type[nn.Module] = DeepFM) -> None:
        torch.manual_seed(1)
        inputs, more = features(), {"initializer": Normal(std=0.5), "rule": "sgd" if ON_GPU else "adam", "seed": 2, "device": place}
        if kind is DIN:
            more |= {"sequences": [{"past": "item", "kinds": None}], "attention_hidden": (4,)}
        else:
            inputs = [feature for feature in inputs if feature.name not in ("past", "kinds")]
        self.model: Any = kind(inputs, **INPUTS, **more)
        rate: Any = torch.tensor(0.05).to(place)
        parameters = list(self.model.parameters())
        dense = torch.optim.SGD(parameters, lr=rate, fused=True) if ON_GPU else torch.optim.Adam(parameters, lr=rate, capturable=True)
        self.optimizer = CombinedOptimizer(dense, SparseOptimizer(self.model, lr=0.05))


def transforms_are_captured() -> None:
    """Two epochs with a short tail and lists of strings that outgrow their room, first in strings and then in bytes alone."""
    rows = [batch_of(number, longest=9 if number == 6 else 2) for number in range(14)]
    columns = rows[11].groups["sample"].columns
    long, ends = strings_of(["w" * 190, "v" * 160])
    tags = Ragged(long, (offsets_of([1, 1] + [0] * (SAMPLES - 2)), ends))
    rows[11] = Batch.of({**columns, "tags": tags}, origin=rows[11].origin)
    rows.append(batch_of(14, samples=5))
    with tempfile.TemporaryDirectory() as made, device(), mock.patch.object(placement, "LateCopy", _late_flags(2)):
        folder, settings, counts = Path(made), [], {}
        for name, place in (("cpu", "cpu"), ("captured", DEVICE)):
            one = Whole(place)
            trainer = one.trainer(run_folder=folder / name, save_every=7, log_every=5, capture=name == "captured")
            counts = trainer.fit(Batches(rows, place), epochs=2, evaluate_on=Batches(rows[:3], place)).get("capture", {})
            settings.append(one)
        check_same(settings[1], settings[0])
        check_same_lines(folder / "captured", folder / "cpu")
        if not ON_GPU:
            assert rows_and_weights(folder / "captured") == rows_and_weights(folder / "cpu")
            assert optimizer_and_generator(folder / "captured") == optimizer_and_generator(folder / "cpu")
        assert counts["replays"] + counts["eager"] == 30
        assert counts["replays"] >= 18, counts
        # One at first, one when there are more strings than room, one when there are more bytes.
        assert 3 <= counts["graphs"] <= 4, counts
        room = trainer._steps._captured._inputs.most  # type: ignore[union-attr]
        assert room["tags"][0] >= sum(rows[6]["tags"].lengths().tolist())  # type: ignore[union-attr]
        assert room["tags"][1] >= 350


def behaviours_are_captured() -> None:
    """DIN over histories of items and of lists of kinds. It sums over memory that is longer than its lists: that rounds otherwise."""
    rows = [batch_of(number) for number in range(9)]
    with device():
        found, expected = Whole(DEVICE, DIN), Whole("cpu", DIN)
        trainer = found.trainer(capture=True)
        trainer.fit(Batches(rows, DEVICE), epochs=2)
        expected.trainer().fit(Batches(rows), epochs=2)
        counts = trainer._steps.counts()
        assert counts is not None
        assert counts["replays"] >= 10, counts
        for mine, theirs in zip(table_groups(found.model), table_groups(expected.model), strict=True):
            assert mine.num_rows == theirs.num_rows > 10
            for one, two in zip(mine.export(), theirs.export(), strict=True):
                assert torch.equal(one.ids, two.ids)
                torch.testing.assert_close(one.weights, two.weights, rtol=1e-3, atol=1e-4)
        for mine, theirs in zip(found.model.parameters(), expected.model.parameters(), strict=True):
            torch.testing.assert_close(mine.detach().cpu(), theirs.detach(), rtol=1e-3, atol=1e-4)


def _late_flags(lateness: int | None) -> Any:
    """Return a copy of flags that comes so many of its kind later; None: only to whoever waits. On a GPU they come when they come."""
    if ON_GPU:
        return placement.LateCopy
    import strict_device

    class Late(strict_device._LateCopy):
        asked = waited = 0

        def __init__(self, tensors: Any) -> None:
            super().__init__(tensors)
            self._due = type(self).asked + (10**9 if lateness is None else lateness)

    return Late


class _Stop(Hook):
    """Does something after a step."""

    def __init__(self, step: int, do: Callable[[Any], None]) -> None:
        self._step, self._do = step, do

    def after_step(self, trainer: Any) -> None:
        if trainer.step == self._step:
            self._do(trainer)


def wrong_columns(batch: Batch) -> list[tuple[dict[str, Column], str, str]]:
    """Return columns with a value that a transform refuses, and what is said of it."""
    several = [2, *[0] * (batch.num_samples - 1)]
    unknown, ends = strings_of(["a"] * (batch.num_samples - 1) + ["none of them"])
    return [
        ({"price": Ragged(torch.ones(2), (offsets_of(several),))}, "feature 'price', column 'price'", "fill refused 1 values"),
        ({"title": Ragged(unknown, (ends,))}, "feature 'title', column 'title'", "vocabulary refused 1 values"),
    ]


@contextlib.contextmanager
def _run(folder: Path, wrong_at: int, columns: dict[str, Column], *, late: int | None = None, **options: Any) -> Iterator[tuple[Any, Any]]:
    """Give a trainer of captured steps and its batches, all alike but for one that is wrong: from step 3 on each is a replay."""
    rows = [replace(batch_of(1), origin=(RowSpan("rows.orc", SAMPLES * number, SAMPLES),)) for number in range(12)]
    rows[wrong_at - 1] = Batch.of({**rows[wrong_at - 1].groups["sample"].columns, **columns}, origin=rows[wrong_at - 1].origin)
    with device(), mock.patch.object(placement, "LateCopy", _late_flags(late)):
        yield Whole(DEVICE).trainer(run_folder=folder, capture=True, **options), rows


def refusals_are_told_before_anything_is_written() -> None:
    """In the last replay of a fit, before a save, before a line, before an evaluation; the step is named as far as it is known."""
    for columns, *said in wrong_columns(batch_of(0)):
        for wrong_at, options, known, saved, lines in (
            (12, {"save_every": 10, "log_every": 5}, "one of the steps 11 to 12 (from rows.orc, row 80 on)", 10, [5, 10]),
            (8, {"save_every": 4, "log_every": 3}, "one of the steps 7 to 8 (from rows.orc, row 48 on)", 4, [3, 6]),
            (10, {"save_every": 9, "log_every": 5}, "step 10 (from rows.orc, row 72 on)", 9, [5]),
        ):
            with tempfile.TemporaryDirectory() as made, _run(Path(made), wrong_at, columns, **options) as (trainer, rows):
                message = raises(DataError, lambda: trainer.fit(Batches(rows, DEVICE), evaluate_on=Batches(rows)))
                assert all(word in message for word in said), message
                assert ON_GPU or message.startswith(known), message
                assert trainer.step >= wrong_at
                assert Saver(Path(made) / "checkpoints").latest() == Path(made) / "checkpoints" / f"step-{saved:08d}"
                assert [line["step"] for line in log_lines(Path(made))] == lines
                assert not (Path(made) / "summary.json").exists()
                counts = trainer._steps.counts()
                assert counts == {"replays": trainer.step - 2, "eager": 2, "graphs": 1}
    # Whoever asks for metrics hears of it, once.
    columns, *said = wrong_columns(batch_of(0))[0]
    asked: list[str] = []
    hook = _Stop(7, lambda trainer: asked.extend(raises(DataError, trainer.running_metrics) for _ in range(1)))
    with tempfile.TemporaryDirectory() as made, _run(Path(made), 7, columns, hooks=[hook]) as (trainer, rows):
        trainer.fit(Batches(rows, DEVICE))
    assert all(word in asked[0] for word in said)


def refusals_are_no_misfits() -> None:
    """A later call that tells of one, be it for a batch that does not fit, takes no step and begins no graph."""
    (columns, *said), _ = wrong_columns(batch_of(0))
    with tempfile.TemporaryDirectory() as made, _run(Path(made), 6, columns, late=0) as (trainer, rows):
        message = raises(DataError, lambda: trainer.fit(Batches(rows, DEVICE)))
        assert all(word in message for word in said), message
        if not ON_GPU:
            assert message.startswith("step 6 (from rows.orc, row 40 on): "), message
            assert trainer.step == 6
            assert trainer._steps.counts() == {"replays": 4, "eager": 2, "graphs": 1}
    with tempfile.TemporaryDirectory() as made, _run(Path(made), 6, columns) as (trainer, rows):
        rows[6] = batch_of(6, longest=30)
        message = raises(DataError, lambda: trainer.fit(Batches(rows, DEVICE)))
        assert all(word in message for word in said), message
        assert trainer.step == 6
        assert trainer._steps.counts() == {"replays": 4, "eager": 2, "graphs": 1}
        assert ON_GPU or message.startswith("one of the steps 3 to 6 (from rows.orc, row 16 on): "), message


def the_configuration_of_the_page_is_captured() -> None:
    """`configs/criteo_deepfm.yaml`, the run that README and demo name, but for sizes."""
    from pipelines.test_yaml_equals_script import ROOT, write_criteo
    from sparrow.pipelines.load_config import load_run_config
    from sparrow.pipelines.run import evaluate_run, train_run

    with tempfile.TemporaryDirectory() as made, device():
        folder = Path(made)
        for part, num_rows in (("train", 150), ("eval", 30)):
            write_criteo(folder / f"{part}.orc", num_rows, seed=len(part))
        found: dict[str, Any] = {}
        for name, more in (("cpu", {}), ("captured", {"run.device": str(DEVICE), "run.capture": "true"})):
            changes = {
                "data.train": str(folder / "train.orc"), "data.eval": str(folder / "eval.orc"), "run.folder": str(folder / name),
                "model.hidden": "[8]", "model.dim": "4", "data.batch_size": "16", "run.epochs": "1", **more,
            }  # fmt: skip
            found[name] = train_run(load_run_config(ROOT / "configs" / "criteo_deepfm.yaml", changes), progress=False)
        captured, expected = found["captured"], found["cpu"]
        assert captured["capture"]["replays"] >= 5, captured["capture"]
        assert captured["table_rows"] == expected["table_rows"]
        for part in ("train", "eval"):
            assert math.isclose(captured[part]["log_loss"], expected[part]["log_loss"], rel_tol=1e-4)
        again = evaluate_run(folder / "captured", None, {"run.device": "cpu"})
        assert math.isclose(again["log_loss"], captured["eval"]["log_loss"], rel_tol=1e-4 if ON_GPU else 0.0)
