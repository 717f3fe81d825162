"""What `test_late_evaluation.py` runs, each in a process of its own: evaluations on a device that wait for no batch, beside the CPU."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from device_scenarios import DEVICE, ON_GPU, raises
from pipelines.device_steps import SAMPLES, Batches, Setting, batches, changed, device
from sparrow.errors import DataError, SparrowError
from sparrow.pipelines.evaluation import evaluate_model
from sparrow.pipelines.outcomes import MOST_STEPS_BEHIND
from sparrow.types import Batch, Column, Group, Ragged


def strings(names: list[str]) -> Ragged:
    ends = torch.tensor([0, *map(len, names)]).cumsum(0)
    return Ragged(torch.tensor(list("".join(names).encode()), dtype=torch.uint8), (ends,))


def rows_of(kind: str, num_batches: int = 9) -> list[Batch]:
    """Return batches with a column `who` of users: numbers, lists of one, strings, or numbers that samples share; the last is filled up."""
    random = torch.Generator().manual_seed(3)
    made = []
    for batch in batches(num_batches, ragged_labels=kind == "strings"):
        users = torch.randint(0, 4, (SAMPLES,), generator=random)
        of_kind: dict[str, Column] = {
            "numbers": users,
            "lists": Ragged(users, (torch.arange(SAMPLES + 1),)),
            "strings": strings([f"user {user}" for user in users.tolist()]),
        }
        if kind == "shared":
            shared = Group({"who": torch.tensor([7, 5, 2**40])}, 3, users % 3)
            made.append(replace(batch, groups={**batch.groups, "users": shared}))
        else:
            made.append(changed(batch, who=of_kind[kind]))
    return [*made[:-1], replace(made[-1], num_padding=3)]


def trained(place: torch.device | str) -> Any:
    one = Setting(place)
    one.trainer().fit(Batches(batches(4), place))
    return one.model


def waited() -> int:
    return 0 if ON_GPU else __import__("strict_device").LateOutcome.waited


def batches_are_not_waited_for() -> None:
    """Metrics of every kind of column, wherever batches are read, however late what they leave comes."""
    for kind in ("numbers", "lists", "strings", "shared"):
        rows = rows_of(kind)
        for lateness, reads_at in ((0, DEVICE), (9, DEVICE), (2, "cpu")):
            with device(lateness) as no_waiting:
                here, there = trained("cpu"), trained(DEVICE)
                expected = evaluate_model(here, Batches(rows), "label", group="who")
                moved, before = Batches([batch.to(reads_at) for batch in rows], reads_at), waited()
                with no_waiting():
                    found = evaluate_model(there, moved, "label", group="who")
                assert expected is not None
                assert found is not None
                assert expected["num_samples"] == SAMPLES * len(rows) - 3
                if ON_GPU:
                    assert all(math.isclose(found[name], expected[name], rel_tol=1e-3) for name in ("log_loss", "click_rate"))
                    continue
                assert found == expected, (kind, lateness)
                assert waited() - before == {0: 0, 2: 2, 9: len(rows)}[lateness]


class Reader(Batches):
    """Batches, of which one cannot be read."""

    def __init__(self, rows: list[Batch], place: torch.device | str, breaks_at: int) -> None:
        super().__init__(rows, place)
        self._breaks_at = breaks_at

    def __iter__(self) -> Iterator[Batch]:
        for batch in super().__iter__():
            if self._next == self._breaks_at:
                raise DataError("the file ends here")
            yield batch


def wrong_rows_are_named() -> None:
    """As on the CPU, and the first of several, though more batches were read by then."""
    rows = rows_of("lists")
    label, who = rows[4]["label"], rows[4]["who"]
    assert isinstance(label, Tensor)
    assert isinstance(who, Ragged)
    two, shifted = label.clone(), who.offsets[0].clone()
    two[5], shifted[4] = 2.0, 5
    for wrong, what in (
        ({"label": two}, "rows.orc, row 37: label column 'label' is 2.0; expected 0 or 1"),
        ({"who": Ragged(who.values, (shifted,))}, "rows.orc, row 35: group column 'who' holds 2 values"),
    ):
        bad = [*rows[:4], changed(rows[4], **wrong), *rows[5:]]  # type: ignore[arg-type]
        for place, reads_at in (("cpu", "cpu"), (DEVICE, DEVICE), (DEVICE, "cpu")):
            for breaks_at in (0, 6):
                with device(5):
                    model, data = trained(place), Reader(bad, reads_at, breaks_at)
                    said = raises(SparrowError, lambda: evaluate_model(model, data, "label", group="who"))  # noqa: B023
                    assert what in said, said
                    assert 5 <= data._next <= 5 + MOST_STEPS_BEHIND
                    assert model.training
    with device(5):
        data = Reader(rows, DEVICE, 6)
        assert "the file ends here" in raises(SparrowError, lambda: evaluate_model(trained(DEVICE), data, "label"))


def a_stop_leaves_the_data_set_where_it_was() -> None:
    class Stops:
        def __init__(self, after: int) -> None:
            self._left = after

        @property
        def requested(self) -> bool:
            self._left -= 1
            return self._left < 0

    with device(5):
        model, data = trained(DEVICE), Batches(rows_of("numbers"), DEVICE)
        with contextlib.closing(iter(data)) as reading:  # type: ignore[type-var]
            next(reading)
        stop: Any = Stops(4)
        assert evaluate_model(model, data, "label", stop) is None
        assert data.state_dict() == {"epoch": 0, "next": 1}
        assert evaluate_model(model, data, "label") is not None
        assert data.state_dict() == {"epoch": 1, "next": 0}
