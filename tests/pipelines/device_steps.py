"""What `test_device_steps.py` runs, each in a process of its own: a trainer whose steps wait for no device, beside one on the CPU.

On the stand-in device of `strict_device` every bit must be that of the CPU, and whoever waits is found out; steps are captured by
`recorded_steps`. A GPU adds in another order: there numbers agree to a tolerance.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import torch
from pyarrow import orc
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

import device_scenarios
from device_scenarios import DEVICE, ON_GPU, raises
from pipelines.clicks import config_for, log_lines, optimizer_and_generator, rows_and_weights, summary_of
from pipelines.device_runs import check_tables, same
from sparrow.errors import ConfigError, DataError, SparrowError
from sparrow.features import Feature
from sparrow.io import Dataset
from sparrow.models import DeepFM
from sparrow.optim import CombinedOptimizer, SparseOptimizer
from sparrow.pipelines import Hook, LearningRateSchedule, Trainer, outcomes, steps
from sparrow.pipelines.run_config import RunConfig
from sparrow.saver import Saver
from sparrow.tables import table_groups
from sparrow.types import Batch, Ragged, RowSpan

NoWaiting = Callable[[], contextlib.AbstractContextManager[None]]
SAMPLES = 8
_CLOCKED = ("seconds", "samples_per_second", "capture")


@contextlib.contextmanager
def device(lateness: int = 2) -> Iterator[NoWaiting]:
    """Give the context in which nobody may wait for the device; what steps leave comes `lateness` steps later."""
    with contextlib.ExitStack() as stack:
        no_waiting = stack.enter_context(device_scenarios.device(lateness))
        if not ON_GPU:
            import recorded_steps
            import strict_device

            stack.enter_context(recorded_steps.installed())
            stack.enter_context(mock.patch.object(outcomes, "LateCopy", strict_device.LateOutcome))
            # Adam has a form that is captured, which torch lets nobody but GPUs use.
            stack.callback(register_optimizer_step_pre_hook(_begin_adam).remove)
            stack.enter_context(mock.patch("torch.optim.adam._get_capturable_supported_devices", return_value=["cpu", "meta"]))
        yield no_waiting


def _begin_adam(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Begin the state of Adam: what torch makes of no dimension, the stand-in takes for a sink of gradients."""
    if isinstance(optimizer, torch.optim.Adam):
        for parameter in (one for group in optimizer.param_groups for one in group["params"] if not optimizer.state[one]):
            place = parameter.device
            moments = {name: torch.zeros(parameter.shape).to(place) for name in ("exp_avg", "exp_avg_sq")}
            optimizer.state[parameter] = {"step": torch.tensor(0.0).to(place), **moments}


class Batches:
    """Batches of a list, epoch by epoch, on `place`."""

    def __init__(self, batches: Sequence[Batch], place: torch.device | str = "cpu") -> None:
        self._batches, self._place = list(batches), place
        self.epoch = self._next = 0

    @property
    def num_rows(self) -> int:
        return sum(batch.num_samples for batch in self._batches)

    def __iter__(self) -> Iterator[Batch]:
        while self._next < len(self._batches):
            self._next += 1
            yield self._batches[self._next - 1].to(self._place)
        self.epoch, self._next = self.epoch + 1, 0

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "next": self._next}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch, self._next = state["epoch"], state["next"]


def batches(
    num_batches: int, *, tail: int = SAMPLES, longest: Callable[[int], int] = lambda _: 2, ragged_labels: bool = False, most: int = 40
) -> list[Batch]:
    """Return batches of x, user, genres (up to `longest(number)` a sample) and label, the last of `tail` samples; rows have origins."""
    random = torch.Generator().manual_seed(1)
    made = []
    for number in range(num_batches):
        samples = tail if number == num_batches - 1 else SAMPLES
        lengths = torch.randint(0, longest(number) + 1, (samples,), generator=random)
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
        labels: Tensor | Ragged = torch.randint(0, 2, (samples,), generator=random).double()
        columns = {
            "x": torch.rand(samples, generator=random),
            "user": torch.randint(0, most + number // 2, (samples,), generator=random),
            "genres": Ragged(torch.randint(0, most, (int(offsets[-1]),), generator=random), (offsets,)),
            "label": Ragged(labels, (torch.arange(samples + 1),)) if ragged_labels else labels,
        }
        made.append(Batch.of(columns, origin=(RowSpan("rows.orc", SAMPLES * number, samples),)))
    return made


def changed(batch: Batch, **columns: Any) -> Batch:
    return Batch.of({**batch.groups["sample"].columns, **columns}, origin=batch.origin)


class Setting:
    """A DeepFM and its optimizer: dense rates as tensors, so that steps may be captured and the CPU rounds alike. plain: as numbers."""

    def __init__(self, place: torch.device | str, rate: float = 0.05, plain: bool = False) -> None:
        torch.manual_seed(1)
        features = [Feature(name).select(name) for name in ("x", "user", "genres")]
        rule = "sgd" if ON_GPU or plain else "adam"
        self.model = DeepFM(features, dense=["x"], sparse=["user", "genres"], dim=4, hidden=(6,), rule=rule, seed=2, device=place)
        parameters = list(self.model.parameters())
        if plain:
            self.optimizer = CombinedOptimizer(torch.optim.SGD(parameters, lr=rate), SparseOptimizer(self.model, lr=rate))
            return
        lr: Any = torch.tensor(rate).to(place)
        dense = torch.optim.SGD(parameters, lr=lr, fused=True) if ON_GPU else torch.optim.Adam(parameters, lr=lr, capturable=True)
        self.optimizer = CombinedOptimizer(dense, SparseOptimizer(self.model, lr=rate))

    def trainer(self, **options: Any) -> Trainer:
        return Trainer(self.model, self.optimizer, progress=False, **options)


def check_same(mine: Setting, theirs: Setting) -> None:
    check_tables(table_groups(mine.model), table_groups(theirs.model))
    for one, two in zip(mine.model.parameters(), theirs.model.parameters(), strict=True):
        assert same(one, two)


def check_same_lines(mine: Path, theirs: Path) -> None:
    one, two = ([{key: line[key] for key in line if key not in _CLOCKED} for line in log_lines(folder)] for folder in (mine, theirs))
    if ON_GPU:
        assert [line["step"] for line in one] == [line["step"] for line in two]
        assert all(math.isclose(line["log_loss"], other["log_loss"], rel_tol=1e-4) for line, other in zip(one, two, strict=True))
    else:
        assert one == two


@contextlib.contextmanager
def steps_that_wait_for_nothing(trainer: Trainer, no_waiting: NoWaiting = contextlib.nullcontext) -> Iterator[list[int]]:
    """Let a step that waits raise; give a list of how many outcomes each step waited for."""
    waited: list[int] = []
    take = trainer._train_step

    def counted() -> int:
        return 0 if ON_GPU else __import__("strict_device").LateOutcome.waited

    def refusing(batch: Batch) -> None:
        before = counted()
        with no_waiting():
            take(batch)
        waited.append(counted() - before)

    with mock.patch.object(trainer, "_train_step", refusing):
        yield waited


def _write_files(folder: Path) -> None:
    """Write train.orc and eval.orc, of columns that need no transform."""
    random = np.random.default_rng(1)
    for part, num_rows in (("train", 300), ("eval", 40)):
        columns = {
            "label": random.integers(0, 2, num_rows).astype(np.float64),
            "x": random.random(num_rows, np.float32),
            "user": random.integers(0, 200, num_rows),
            "genres": [random.integers(0, 50, size).tolist() for size in random.integers(0, 4, num_rows)],
        }
        orc.write_table(pa.table(columns), str(folder / f"{part}.orc"), stripe_size=512, batch_size=128)


def steps_wait_for_nothing() -> None:
    """Batches made on the device, batches sent by the trainer; however late what steps leave comes."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        _write_files(folder)

        def train(name: str, place: torch.device | str, reads_at: torch.device | str, **how: Any) -> Setting:
            one = Setting(place)
            read = ["label", *one.model.columns]
            train, test = (Dataset(folder / f"{part}.orc", read, batch_size=32, device=reads_at) for part in ("train", "eval"))
            trainer = one.trainer(run_folder=folder / name, save_every=4, log_every=9)
            with steps_that_wait_for_nothing(trainer, **how) as waited:
                trainer.fit(train, evaluate_on=test)
            # Where what steps leave comes late, a step waits for the third before it; at steps 4, 8 and 9 nothing was left.
            behind = [max(0, step - 2 - last) for step, last in zip(range(1, 11), [0] * 4 + [4] * 4 + [8, 9], strict=True)]
            assert ON_GPU or waited == [int(number > 0 and name == "late") for number in behind], (name, waited)
            return one

        with device():
            expected = train("cpu", "cpu", "cpu")
        for name, lateness, reads_at in (("made there", 0, DEVICE), ("sent", 2, "cpu"), ("late", 9, DEVICE)):
            with device(lateness) as no_waiting:
                found = train(name, DEVICE, reads_at, no_waiting=no_waiting)
                check_same(found, expected)
            check_same_lines(folder / name, folder / "cpu")
            if not ON_GPU:
                assert rows_and_weights(folder / name) == rows_and_weights(folder / "cpu")
                one, two = (summary_of(folder / which) for which in (name, "cpu"))
                assert one.keys() == two.keys()
                assert all(one[key] == two[key] for key in one if key not in _CLOCKED)


def wrong_steps_are_named_and_nothing_is_written_of_them() -> None:
    """A NaN, or a wrong label, is told of as on the CPU; what is saved and logged is of the steps before; a resume goes on from there."""
    all_right = batches(10)
    ragged = batches(10, ragged_labels=True)
    labels, listed = all_right[6]["label"], ragged[6]["label"]
    assert isinstance(labels, Tensor)
    assert isinstance(listed, Ragged)
    x = all_right[6]["x"]
    assert isinstance(x, Tensor)
    spoilt, two, shifted = x.clone(), labels.clone(), listed.offsets[0].clone()
    spoilt[3], two[5], shifted[4] = torch.nan, 2.0, 3  # a row of none, then one of two
    cases = (
        (all_right, {"x": spoilt}, SparrowError, "the loss is nan at step 7 (from rows.orc, row 48 on)"),
        (all_right, {"label": two}, DataError, "rows.orc, row 53: label column 'label' is 2.0; expected 0 or 1"),
        (all_right, {"label": (two * 2).int()}, DataError, "label column 'label' is 2; expected 0 or 1"),
        (ragged, {"label": Ragged(listed.values, (shifted,))}, DataError, "rows.orc, row 51: label column 'label' holds 0 values"),
        (ragged, {"label": Ragged(listed.values[:7], (shifted,))}, DataError, "rows.orc, row 51: label column 'label' holds 0 values"),
    )
    for number, (right, wrong, kind, what) in enumerate(cases):
        rows = [changed(batch, **wrong) if index == 6 else batch for index, batch in enumerate(right)]
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            options = {"save_every": 4, "log_every": 3}
            # "there" names places of a device, where it is told of later.
            for name, place, reads_at, lateness in (("cpu", "cpu", "cpu", 0), ("there", DEVICE, DEVICE, 5), ("sent", DEVICE, "cpu", 5)):
                with device(lateness):
                    trainer = Setting(place).trainer(run_folder=folder / name, **options)
                    said = raises(kind, lambda: trainer.fit(Batches(rows, reads_at)))  # noqa: B023
                assert what in said, said
                # A step that is known to be wrong before it is taken is not counted.
                known_at_once = (reads_at == "cpu" and (place == "cpu" or kind is DataError)) or number == 4
                assert trainer.step == (6 if known_at_once else 8), (name, trainer.step)
                assert Saver(folder / name / "checkpoints").latest() == folder / name / "checkpoints" / "step-00000004"
                assert [line["step"] for line in log_lines(folder / name)] == [3, 6]
                check_same_lines(folder / name, folder / "cpu")
            if number == 0:
                with device(5):
                    found, expected = Setting(DEVICE), Setting("cpu")
                    found.trainer(run_folder=folder / "there", **options).fit(Batches(right, DEVICE), resume=True)
                    expected.trainer(run_folder=folder / "whole", **options).fit(Batches(right))
                    check_same(found, expected)
                check_same_lines(folder / "there", folder / "whole")
    # The first step that was wrong is the one told of, be a later one found out before; a trainer may go on then.
    with device(5):
        rows = [*all_right[:6], changed(all_right[6], x=spoilt), changed(all_right[7], label=two), *all_right[8:]]
        trainer = Setting(DEVICE).trainer()
        assert "the loss is nan at step 7" in raises(SparrowError, lambda: trainer.fit(Batches(rows)))
        assert trainer.running_metrics()["num_samples"] == 6 * SAMPLES


def hooks_read_what_is_true() -> None:
    """`trainer.step` counts every step; metrics, an evaluation and a clipped norm are those of the CPU."""

    class Looks(Hook):
        def __init__(self) -> None:
            self.seen: list[Any] = []

        def after_step(self, trainer: Any) -> None:
            self.seen.append((trainer.step, trainer.num_samples))
            if trainer.step == 5:
                self.seen.append(trainer.running_metrics())
            if trainer.step == 7:
                self.seen.append(trainer.evaluate(Batches(batches(3), place)))

        def on_log(self, trainer: Any, line: dict[str, Any]) -> None:
            self.seen.append(line)

    seen = []
    for place in ("cpu", DEVICE):
        with device(9):
            looks = Looks()
            trainer = Setting(place).trainer(hooks=[looks], log_every=2)
            trainer.fit(Batches(batches(10), place), evaluate_on=Batches(batches(3), place))
            seen.append([{k: v for k, v in each.items() if k not in _CLOCKED} if isinstance(each, dict) else each for each in looks.seen])
    if ON_GPU:
        assert [each for each in seen[0] if isinstance(each, tuple)] == [each for each in seen[1] if isinstance(each, tuple)]
        losses = [[each["log_loss"] for each in one if isinstance(each, dict)] for one in seen]
        assert all(math.isclose(one, two, rel_tol=1e-4) for one, two in zip(*losses, strict=True))
    else:
        assert seen[0] == seen[1]


def a_norm_is_clipped_without_waiting() -> None:
    """torch adds the squares of a norm in another order where there are more rows, be they zeros: weights agree to a tolerance."""

    def weights(place: torch.device | str, norm: float | None) -> Tensor:
        with device() as no_waiting:
            one = Setting(place, rate=1.0, plain=True)
            trainer = one.trainer(max_grad_norm=norm, log_every=100)
            with steps_that_wait_for_nothing(trainer, no_waiting=no_waiting if place == DEVICE else contextlib.nullcontext):
                trainer.fit(Batches(batches(4), place))
            rows = [chunk.weights.cpu().reshape(-1) for group in table_groups(one.model) for chunk in group.export()]
            return torch.cat([*rows, *(parameter.detach().cpu().reshape(-1) for parameter in one.model.parameters())])

    clipped = weights("cpu", 0.02)
    torch.testing.assert_close(weights(DEVICE, 0.02), clipped, rtol=1e-4, atol=1e-6)
    assert float((weights(DEVICE, None) - clipped).abs().max()) > 0.01


class EvaluateAt(Hook):
    """Evaluates after some steps, in between replays."""

    def __init__(self, steps: Sequence[int], place: torch.device | str) -> None:
        self._steps, self._place = steps, place
        self.found: list[float] = []

    def after_step(self, trainer: Any) -> None:
        if trainer.step in self._steps:
            self.found.append(trainer.evaluate(Batches(batches(4), self._place))["log_loss"])


def captured_steps_are_eager_ones() -> None:
    """Two epochs with a short tail, lists that outgrow their room, a schedule, evaluations, and a session that ends in the middle."""
    rows = batches(34, tail=5, longest=lambda number: 6 if number in (9, 28) else 2, ragged_labels=True)

    def train(place: torch.device | str, folder: Path, sessions: Sequence[int | None], **options: Any) -> tuple[Setting, list[Any]]:
        counts: list[Any] = []
        for number, max_steps in enumerate(sessions):
            one = Setting(place)
            schedule, looks = torch.optim.lr_scheduler.CosineAnnealingLR(one.optimizer, T_max=12, eta_min=0.01), EvaluateAt((20, 50), place)
            hooks = [LearningRateSchedule(schedule), looks]
            trainer = one.trainer(run_folder=folder, save_every=15, log_every=10, hooks=hooks, **options)
            summary = trainer.fit(Batches(rows, place), epochs=2, max_steps=max_steps, resume=number > 0)
            counts.append(summary.get("capture"))
        return one, [*counts, *looks.found]

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        with device() as _:
            expected, (_, *losses) = train("cpu", folder / "cpu", [None])
            # It goes on one batch before the tail, which another shape follows: a graph must not be for the tail alone.
            found, (*counts, loss) = train(DEVICE, folder / "captured", [33, None], capture=True)
            check_same(found, expected)
        check_same_lines(folder / "captured", folder / "cpu")
        assert math.isclose(loss, losses[1], rel_tol=1e-4 if ON_GPU else 0.0)
        if not ON_GPU:
            assert rows_and_weights(folder / "captured") == rows_and_weights(folder / "cpu")
            assert optimizer_and_generator(folder / "captured") == optimizer_and_generator(folder / "cpu")
        for num_steps, count in zip((33, 35), counts, strict=True):
            assert count["replays"] + count["eager"] == num_steps
            assert count["replays"] > num_steps * 2 // 3, count
            # One more where lists outgrow their room by more than twice, and one where tables do.
            assert 1 < count["graphs"] <= 3, count
        assert log_lines(folder / "captured")[-1]["capture"] == counts[-1] == summary_of(folder / "captured")["capture"]
        # What was captured may go on without, and on the CPU.
        with device():
            one = Setting("cpu")
            one.trainer(run_folder=folder / "captured").fit(Batches(rows), epochs=3, max_steps=70, resume=True)


def replays_wait_for_nothing_and_name_what_is_wrong() -> None:
    """What a replay leaves is copied before the next one overwrites it, and looked at in order, wherever batches are."""
    rows = [changed(batch) for batch in batches(3)] * 5  # their ids are known after an epoch of three
    x = rows[12]["x"]
    label = rows[12]["label"]
    assert isinstance(x, Tensor)
    assert isinstance(label, Tensor)
    spoilt, two = x.clone(), label.clone()
    spoilt[0], two[5] = torch.inf, 2.0
    for reads_at in (DEVICE, "cpu"):
        with device(9) as no_waiting:
            one, expected = Setting(DEVICE), Setting("cpu")
            expected.trainer().fit(Batches(rows))
            trainer = one.trainer(capture=True)
            train = Batches(rows, reads_at)
            trainer.fit(train, max_steps=3)
            with steps_that_wait_for_nothing(trainer, no_waiting=no_waiting) as waited:
                trainer.fit(train)
            assert trainer._steps.counts() == {"replays": 13, "eager": 2, "graphs": 1}
            assert ON_GPU or waited == [0] * 2 + [1] * 10
            check_same(one, expected)
        for wrong, kind, what in (
            ({"x": spoilt}, SparrowError, "at step 13 (from rows.orc, row 0 on)"),
            ({"label": two}, DataError, "rows.orc, row 5: label column 'label' is 2.0"),
        ):
            with device(9):
                trainer = Setting(DEVICE).trainer(capture=True, log_every=6)
                bad = [*rows[:12], changed(rows[12], **wrong), *rows[13:]]
                said = raises(kind, lambda: trainer.fit(Batches(bad, reads_at)))  # noqa: B023
                assert what in said, said
                assert trainer._steps.counts()["replays"] == (10 if reads_at == "cpu" and kind is DataError else 13)


def a_graph_that_is_of_no_use_is_told_of() -> None:
    """Batches of ever other shapes are taken one by one, and a graph is made for those that come in a row; one warning says so."""
    full, short = batches(12), batches(1, tail=5)
    padded = [Batch(batch.groups, batch.origin, num_padding=3) for batch in full]
    alternating = [one for pair in zip(full, padded, strict=True) for one in pair]
    for name, rows, least_replays, most_graphs, is_told in (
        ("alternating", alternating, 8, 2, True),
        # One short batch comes first: with the second full one in a row there is a new graph, and another where lists outgrow it.
        ("begins with a tail", [*short, *full[:9]], 4, 2, False),
        # Two shapes in turn, each twice: patience is doubled, or every fourth step would begin anew.
        ("two and two", [one for k in range(0, 12, 2) for one in (full[k], full[k + 1], padded[k], padded[k + 1])], 6, 4, None),
    ):
        with device(), mock.patch.object(steps, "_STEPS_ON_TRIAL", 22), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found, expected = Setting(DEVICE), Setting("cpu")
            trainer = found.trainer(capture=True)
            trainer.fit(Batches(rows, DEVICE))
            expected.trainer().fit(Batches(rows))
            check_same(found, expected)
            counts = trainer._steps.counts()
        assert counts is not None
        assert counts["replays"] + counts["eager"] == len(rows)
        assert counts["replays"] >= least_replays, (name, counts)
        assert counts["graphs"] <= most_graphs, (name, counts)
        told = [str(warning.message) for warning in caught if "capture: of the first 22 steps" in str(warning.message)]
        assert is_told is None or len(told) == is_told, (name, told)
        assert all("were replays" in text and "samples of padding" in text for text in told), told


def configured_runs_are_captured() -> None:
    """`run.capture`: a run that is evaluated on the CPU, and goes on without."""
    from pipelines.clicks import write_config
    from sparrow.pipelines.load_config import load_run_config
    from sparrow.pipelines.run import evaluate_run, train_run

    with device(), tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        _write_files(folder)

        def train(name: str, resume: bool = False, **run: Any) -> dict[str, Any]:
            content = config_for(folder / "train.orc", folder / "eval.orc", folder / name, **{"epochs": 1, **run})
            content["model"] = {"name": "deepfm", "dense": ["x"], "sparse": ["user", "genres"], "dim": 4, "hidden": [8]}
            content["features"] = [{"name": column} for column in ("x", "user", "genres")]
            content["data"]["batch_size"] = 16
            content["optimizer"] = {"dense": {"name": "sgd" if ON_GPU else "adam"}, "sparse": {"rule": "sgd"}}
            return train_run(load_run_config(write_config(folder / "run.yaml", content)), resume=resume, progress=False)

        there = {"device": str(DEVICE), "capture": True}
        expected, found = train("cpu"), train("captured", **there)
        assert found["capture"]["replays"] > 12
        assert sum(found["capture"][key] for key in ("replays", "eager")) == found["step"] == 19
        assert found["table_rows"] == expected["table_rows"]
        assert math.isclose(found["eval"]["log_loss"], expected["eval"]["log_loss"], rel_tol=1e-4)
        again = evaluate_run(folder / "captured", None, {"run.device": "cpu"})
        assert math.isclose(again["log_loss"], found["eval"]["log_loss"], rel_tol=1e-4 if ON_GPU else 0.0)
        # From one to the other and back: rates and steps of the dense half are kept as each takes them.
        losses = [train("cpu", resume=True, epochs=epochs)["eval"]["log_loss"] for epochs in (2, 3, 4)]
        settings = ({"device": str(DEVICE)}, there, {"device": "cpu"})
        for epochs, run, loss in zip((2, 3, 4), settings, losses, strict=True):
            summary = train("captured", resume=True, epochs=epochs, **run)
            assert math.isclose(summary["eval"]["log_loss"], loss, rel_tol=1e-4)
            assert ("capture" in summary) == run.get("capture", False)


def what_cannot_be_captured_is_refused() -> None:
    """When the trainer is built, with what to write instead."""
    with device():
        one, here = Setting(DEVICE, plain=True), Setting("cpu")
        place, parameters, sparse = str(DEVICE), list(one.model.parameters()), SparseOptimizer(one.model)
        rate = torch.tensor(0.25).to(DEVICE)
        for dense, words in (
            (torch.optim.Adam(parameters, lr=0.25), ("Adam reads numbers", f"torch.tensor(0.25, device='{place}'), capturable=True)")),
            (torch.optim.AdamW(parameters, lr=0.25), ("write torch.optim.AdamW(model.parameters(), lr=",)),
            (torch.optim.Adagrad(parameters, lr=0.25), ("Adagrad reads numbers", "write torch.optim.Adam(")),
            (torch.optim.SGD(parameters, lr=rate), ("SGD reads numbers", "fused=True")),
            (torch.optim.Adam(parameters, lr=0.25, capturable=True), ("learning rate of the dense optimizer Adam is the number 0.25",)),
            (torch.optim.Adam(parameters, lr=torch.tensor(0.25), capturable=True), ("Adam is a tensor on cpu", f"device='{place}'")),
        ):
            said = raises(ConfigError, lambda: Trainer(one.model, CombinedOptimizer(dense, sparse), capture=True))  # noqa: B023
            assert said.startswith("capture: "), said
            assert all(word in said for word in words), said
        weights = [torch.nn.Parameter(torch.zeros(2))]
        apart = CombinedOptimizer(torch.optim.Adam(weights, lr=rate, capturable=True), sparse)
        assert "dense weights live on cpu" in raises(ConfigError, lambda: Trainer(one.model, apart, capture=True))
        assert "live on {" in raises(ConfigError, lambda: here.trainer(capture=True))
        alone = torch.nn.Linear(2, 1)
        plain = torch.optim.SGD(alone.parameters(), lr=0.1)
        assert "SGD trains no tables" in raises(ConfigError, lambda: Trainer(alone, plain, capture=True))
        # What is built for a configured run is captured.
        content = config_for("train", None, "run", device=str(DEVICE), capture=True)
        for name in ("adam", "adamw", *(["sgd"] if ON_GPU else [])):  # of the stand-in torch knows no fused kernel
            config = RunConfig.model_validate({**content, "optimizer": {"dense": {"name": name}}})
            model = config.build_model()
            assert Trainer(model, config.build_optimizer(model), config.trainer_options(progress=False)).options.capture
