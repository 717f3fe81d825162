"""What `test_models_on_a_device.py` runs, each in a process of its own: the zoo on a device beside the same models on the CPU.

The dense half of a GPU sums in another order, and so does one whose memory is longer than its rows: there models agree to a tolerance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from capture_scenarios import graphs
from device_scenarios import DEVICE, ON_GPU, check_equal, device, raises, same_bits
from sparrow.errors import BackendError, DataError
from sparrow.features import Feature
from sparrow.models import DIN, DeepFM, Dice, LogisticRegression
from sparrow.models.behaviours import Pairs
from sparrow.optim import CapturedStep, CombinedOptimizer, SparseOptimizer
from sparrow.tables import Normal, table_groups
from sparrow.types import Batch, Column, Group, Ragged

SAMPLES, USERS = 6, 4


def lists(random: torch.Generator, rows: int, longest: int, most: int = 30) -> Ragged:
    lengths = torch.randint(0, longest + 1, (rows,), generator=random)
    lengths[torch.rand(rows, generator=random) < 0.2] = 0
    ends = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    return Ragged(torch.randint(0, most, (int(ends[-1]),), generator=random), (ends,))


def batch_of(random: torch.Generator, *, shared: bool) -> Batch:
    """Return a batch of samples; where `shared`, of behaviours that samples share."""
    price = torch.cat([torch.zeros(1, dtype=torch.int64), torch.randint(0, 2, (SAMPLES,), generator=random).cumsum(0)])
    columns: dict[str, Column] = {
        "price": Ragged(torch.rand(int(price[-1]), generator=random) * 9, (price,)),
        "item": torch.randint(0, 30, (SAMPLES,), generator=random),
        "user": torch.randint(0, 30, (SAMPLES,), generator=random),
        "genres": lists(random, SAMPLES, 4),
    }
    if not shared:
        past = lists(random, SAMPLES, 5)
        return Batch.of({**columns, "past": past, "delay": past.with_values(past.values % 4)})
    past = lists(random, USERS, 5)
    of_users = {"past": past, "delay": past.with_values(past.values % 4)}
    to_row = torch.randint(0, USERS, (SAMPLES,), generator=random)
    return Batch({"sample": Group(columns, SAMPLES), "user": Group(of_users, USERS, to_row)})


def features(*, transforms: bool, past: int | None = None) -> list[Feature]:
    """Return the inputs: with transforms of every kind, or with none that waits for a device outside of a captured step."""
    plain = [Feature("item").select("item"), Feature("user").select("user"), Feature("x").select("item")]
    if not transforms:
        return [*plain, *(Feature(name).select(name) for name in ("genres", "past", "delay"))]

    def cut(feature: Feature) -> Feature:
        return feature if past is None else feature.truncate(past, keep="tail")

    return [
        Feature("x").select("price").fill(0.0).log1p(),
        Feature("item").select("item").hash().mod(50),
        Feature("user").select("user").cross("item").mod(40),
        Feature("genres").select("genres").truncate(3).unique(),
        cut(Feature("past").select("past")).hash().mod(50),
        cut(Feature("delay").select("delay")),
    ]


class Trained:
    """A model with its optimizers and a step."""

    def __init__(self, make: Callable[[torch.device | str], nn.Module], place: torch.device | str) -> None:
        torch.manual_seed(1)
        self.model = make(place).train()
        dense = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.optimizer = CombinedOptimizer(dense, SparseOptimizer(self.model, lr=0.1))

    def step(self, batch: Batch) -> Tensor:
        logits: Tensor = self.model(batch)
        logits.square().sum().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return logits.detach()


def check_alike(here: Trained, there: Trained, *, exactly: bool) -> None:
    """Check that two models hold the same, but for rounding where not `exactly`."""
    for mine, theirs in zip(table_groups(here.model), table_groups(there.model), strict=True):
        assert mine.num_rows == theirs.num_rows > 10
        if exactly:
            check_equal(mine, theirs)
            continue
        for one, two in zip(mine.export(), theirs.export(), strict=True):
            assert torch.equal(one.ids, two.ids)
            assert close(one.weights, two.weights), one.table
    states = here.model.state_dict(), there.model.state_dict()
    for name, value in states[0].items():
        if isinstance(value, Tensor):
            other = states[1][name].cpu()
            assert same_bits(value.reshape(-1), other.reshape(-1)) if exactly else close(value, other), name


def close(one: Tensor, two: Tensor) -> bool:
    return torch.allclose(one.reshape(-1), two.reshape(-1), rtol=1e-3, atol=1e-4)


def din(place: torch.device | str, inputs: list[Feature], **changed: Any) -> DIN:
    given: dict[str, Any] = {
        "dense": ["x"], "sparse": ["item", "user", "genres"], "sequences": [{"past": "item", "delay": None}], "dim": 3, "hidden": (5,),
        "attention_hidden": (4,), "initializer": Normal(std=0.5), "rule": "sgd", "device": place,
    }  # fmt: skip
    return DIN(inputs, **{**given, **changed})


def every_model(inputs: Callable[[], list[Feature]]) -> dict[str, Callable[[torch.device | str], nn.Module]]:
    sparse: dict[str, Any] = {"sparse": ["item", "user", "genres"], "rule": "sgd"}
    dins = {
        f"DIN {pooling} {activation}": lambda place, p=pooling, a=activation: din(place, inputs(), pooling=p, activation=a)
        for pooling in ("attention", "softmax", "mean")
        for activation in ("dice", "prelu")
    }
    return {
        "DeepFM": lambda place: DeepFM(inputs(), dense=["x"], dim=3, hidden=(5,), device=place, **sparse),
        "DeepFM without numbers": lambda place: DeepFM(inputs(), dense=[], dim=3, hidden=(5,), device=place, **sparse),
        "logistic regression": lambda place: LogisticRegression(inputs(), dense=["x"], device=place, **sparse),
        **dins,
    }


def nothing_waits() -> None:
    """Steps of every model with nobody waiting for the device; on the stand-in all is equal to the bit."""
    random = torch.Generator().manual_seed(1)
    with device() as no_waiting:
        for make in every_model(lambda: features(transforms=False)).values():
            here, there = Trained(make, "cpu"), Trained(make, DEVICE)
            for _ in range(4):
                batch = batch_of(random, shared=False)
                wanted, moved = here.step(batch), batch.to(DEVICE)
                with no_waiting():
                    found = there.step(moved)
                assert close(wanted, found.cpu()) if ON_GPU else same_bits(wanted, found.cpu())
            check_alike(here, there, exactly=not ON_GPU)


def pairs_of_shared_rows_wait_for_nothing() -> None:
    """Where a row has so many behaviours at most, its samples have as many pairs, of which the others are not there."""
    random = torch.Generator().manual_seed(2)
    with device() as no_waiting:
        for longest in (0, 1, 4):
            offsets, rows = lists(random, USERS, longest).offsets[0], torch.randint(0, USERS, (SAMPLES,), generator=random)
            wanted = Pairs.of(offsets, rows, int(offsets[-1]), longest)
            moved = offsets.to(DEVICE), rows.to(DEVICE)
            with no_waiting():
                found = Pairs.of(*moved, int(offsets[-1]), longest)
            assert found.is_there is not None
            is_there = found.is_there.cpu()
            assert torch.equal(found.behaviour.cpu()[is_there], wanted.behaviour)
            assert torch.equal(found.sample.cpu()[is_there], wanted.sample)
            assert torch.equal(found.lengths.cpu(), wanted.lengths)
            assert is_there.sum() == wanted.lengths.sum()
            # Each sample's pairs lie from its start on.
            starts = found.starts.cpu().tolist()
            for sample, (start, length) in enumerate(zip(starts, wanted.lengths.tolist(), strict=True)):
                assert found.sample.cpu()[start : start + length].tolist() == [sample] * length
                assert is_there[start : start + length].all()


def models_are_replayed() -> None:
    """Every model with features of transforms, captured: DeepFM to the bit on the stand-in, DIN but for rounding."""
    random = torch.Generator().manual_seed(3)
    with graphs() as no_waiting:
        for shared in (False, True):
            for name, make in every_model(lambda: features(transforms=True, past=3)).items():
                if shared and name not in ("DIN attention dice", "DIN softmax prelu", "DIN mean dice"):
                    continue
                here, there = Trained(make, "cpu"), Trained(make, DEVICE)
                most = {"price": SAMPLES, "genres": 4 * SAMPLES, "past": 5 * SAMPLES, "delay": 5 * SAMPLES + 3}
                captured = CapturedStep(there.step, there.optimizer, most_values=most, room=20)
                exactly = not ON_GPU and not name.startswith("DIN")
                for number in range(6):
                    batch = batch_of(random, shared=shared)
                    wanted, moved = here.step(batch), batch.to(DEVICE)
                    assert captured.is_captured == (number > 1)
                    if captured.is_captured:
                        with no_waiting():
                            found = captured(moved)
                    else:
                        found = captured(moved)
                    assert same_bits(wanted, found.cpu()) if exactly else close(wanted, found.cpu()), (name, shared, number)
                check_alike(here, there, exactly=exactly)


def shared_rows_without_a_bound_are_refused() -> None:
    random = torch.Generator().manual_seed(4)
    with graphs():
        there = Trained(lambda place: din(place, features(transforms=True)), DEVICE)
        captured = CapturedStep(there.step, there.optimizer)
        message = raises(BackendError, lambda: captured(batch_of(random, shared=True).to(DEVICE)))
        assert "'past'" in message or "'delay'" in message, message
        assert ".truncate(length)" in message, message


def unequal_lists_of_a_sequence_are_told_later() -> None:
    random = torch.Generator().manual_seed(6)
    with graphs() as no_waiting:
        there = Trained(lambda place: din(place, features(transforms=True, past=3)), DEVICE)
        most = {"price": SAMPLES, "genres": 4 * SAMPLES, "past": 5 * SAMPLES, "delay": 5 * SAMPLES}
        captured = CapturedStep(there.step, there.optimizer, most_values=most, room=20)
        for _ in range(3):
            captured(batch_of(random, shared=False).to(DEVICE))
        fine = batch_of(random, shared=False)
        unequal = Batch.of({**fine.groups["sample"].columns, "delay": lists(random, SAMPLES, 5)}).to(DEVICE)
        with no_waiting():
            captured(unequal)
        if ON_GPU:
            torch.cuda.synchronize()  # or a later call would tell
        message = raises(DataError, lambda: captured(fine.to(DEVICE)))
        assert "'past'" in message
        assert "'delay'" in message
        assert "different lists in 1 steps" in message, message
        captured(fine.to(DEVICE))
        assert "behaviours; write them with equal lists" in raises(DataError, lambda: there_eagerly(there, unequal))


def there_eagerly(there: Trained, batch: Batch) -> None:
    """Take a step that another captured step would take first, which names what is wrong."""
    CapturedStep(there.step, there.optimizer)(batch)


def dice_counts_rows_that_are_there() -> None:
    """Rows that only fill memory change neither outputs nor gradients nor running numbers, whatever they hold."""
    random = torch.Generator().manual_seed(5)
    with device():
        for num in (0, 1, 2, 7):
            some, all = Dice(3), Dice(3)
            rows = torch.randn(num, 3, generator=random)
            place = torch.randperm(num + 4, generator=random)[:num].sort().values
            is_there = torch.zeros(num + 4, dtype=torch.bool).index_fill(0, place, True)
            filled = torch.randn(num + 4, 3, generator=random).index_copy(0, place, rows).requires_grad_()
            rows.requires_grad_()
            mine, theirs = some(filled, is_there), all(rows)
            assert close(mine[is_there], theirs)
            mine[is_there].square().sum().backward()
            theirs.square().sum().backward()
            if num:
                assert filled.grad is not None
                assert rows.grad is not None
                assert close(filled.grad[is_there], rows.grad)
                assert (filled.grad[~is_there] == 0).all()
            for name in ("mean", "variance"):
                assert close(getattr(some, name), getattr(all, name)), (num, name)
