"""What `test_static_batch.py` runs in a process of its own: strings and lists of lists in captured steps, beside eager steps on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from capture_scenarios import graphs
from device_scenarios import DEVICE, check_equal, raises
from features.captured_features import check_column
from sparrow.embedding import EmbeddingEngine, EmbeddingOption
from sparrow.errors import ConfigError, DataError
from sparrow.features import Feature, FeatureEngine
from sparrow.optim import BatchMisfit, CapturedStep, LateRefusal, SparseOptimizer
from sparrow.tables import Uniform
from sparrow.types import Batch, Column, Ragged

ROWS = 6
# Elements of each level that columns have memory for.
MOST = {"title": (40,), "tags": (14, 50), "sets": (9, 20, 60), "nested": (12, 25)}


Error = TypeVar("Error", bound=DataError)


def caught(kind: type[Error], call: Callable[[], Any]) -> Error:
    """Return the error that `call` raises."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__} was raised")


class Stepping:
    """Hashed strings and ids of lists of lists, and tables of them."""

    IDS = ("title", "tags", "short", "sets", "firsts")

    def __init__(self, place: torch.device | str) -> None:
        self.engine = FeatureEngine(
            [
                Feature("title").select("title").hash("farm"),
                Feature("tags").select("tags").hash("farm").mod(50),
                Feature("short").select("tags").truncate(2).hash("xxh64").unique(),
                Feature("words").select("tags").vocabulary(["", "a", "bc"], oov_buckets=4),
                Feature("hashed").select("sets").hash("farm"),
                Feature("sets").select("sets").hash("farm").pad((2, 2)),
                Feature("firsts").select("nested").truncate(1, level=1).pad((3, 1)).mod(17),
                Feature("weighted").select("nested").truncate(2),
            ]
        )
        options = {name: EmbeddingOption(dim=3, device=place, initializer=Uniform(-1.0, 1.0)) for name in self.IDS}
        self.embedding = EmbeddingEngine(options, seed=3, rows_per_block=64)
        self.optimizer = SparseOptimizer(self.embedding, lr=0.1)

    def step(self, batch: Batch) -> dict[str, Column]:
        made = self.engine(batch)
        flat = {name: column.flatten(1) if isinstance(column := made[name], Tensor) and column.dim() > 2 else column for name in self.IDS}
        embedded = self.embedding(Batch.of(flat))
        sum((embedded[name] ** 2).sum() for name in self.IDS).backward()  # type: ignore[union-attr]
        self.optimizer.step()
        self.optimizer.zero_grad()
        return {name: made[name] for name in made}


def batch_of(random: torch.Generator, number: int) -> Batch:
    """Return strings, lists of strings, lists of lists of strings, and weighted lists of lists: none at all, as much as there is memory
    for at some level, or anything between."""

    def column(name: str) -> Ragged:
        num, levels = ROWS, []
        for level, most in enumerate(MOST[name]):
            size = 0 if number % 7 == 3 or num == 0 else most if (number + level) % 3 == 0 else most // 2
            cuts = torch.randint(0, size + 1, (num,), generator=random).sort().values
            cuts[num - 1 :] = size
            levels.append(torch.cat([torch.zeros(1, dtype=torch.int64), cuts]))
            num = size
        is_text = name != "nested"
        values = torch.randint(97, 100, (num,), generator=random)
        weights = None if is_text else torch.rand(num, generator=random)
        return Ragged(values.to(torch.uint8) if is_text else values, tuple(levels), weights)

    return Batch.of({name: column(name) for name in MOST})


def lists_are_replayed(num_steps: int) -> None:
    random = torch.Generator().manual_seed(1)
    with graphs() as no_waiting:
        here, there = Stepping("cpu"), Stepping(DEVICE)
        captured = CapturedStep(there.step, there.optimizer, most_values=MOST, room=num_steps)
        for number in range(num_steps):
            batch = batch_of(random, number)
            for column in batch.groups["sample"].columns.values():
                assert isinstance(column, Ragged)
                column.check("drawn")
            wanted, moved = here.step(batch), batch.to(DEVICE)
            if captured.is_captured:
                with no_waiting():
                    found = captured(moved)
            else:
                found = captured(batch)
            for name in wanted:
                check_column(name, found[name], wanted[name])
        assert captured.num_replays == num_steps - 2
        for mine, theirs in zip(here.embedding.groups, there.embedding.groups, strict=True):
            assert check_equal(mine, theirs) > 100


def lists_beyond_their_room_are_refused() -> None:
    """At each level; nothing is done, and a new graph has room for them and for what there was."""
    random = torch.Generator().manual_seed(2)
    with graphs():
        here, there = Stepping("cpu"), Stepping(DEVICE)
        captured = CapturedStep(there.step, there.optimizer, most_values=MOST, room=20)
        for number in range(3):
            batch = batch_of(random, number)
            here.step(batch)
            captured(batch)
        columns = batch.groups["sample"].columns
        empty = torch.zeros(ROWS + 1, dtype=torch.int64)
        ends = torch.tensor([0] * ROWS + [15])
        many = Ragged(torch.empty(0, dtype=torch.uint8), (ends, torch.zeros(16, dtype=torch.int64)))
        long = Ragged(torch.full((130,), 97, dtype=torch.uint8), (torch.tensor([0] * ROWS + [1]), torch.tensor([0, 130])))
        for column, sizes, room in ((many, (15, 0), (28, 50)), (long, (1, 130), (28, 130))):
            given = Batch.of({**columns, "tags": column})
            before = captured._inputs.most["tags"]  # type: ignore[union-attr]
            misfit = caught(BatchMisfit, lambda: captured(given))  # noqa: B023
            assert misfit.longer == {"tags": sizes}
            for word in ("'tags'", f"{list(sizes)} elements", f"takes {list(before)} at most", f"most_values={{'tags': {sizes}}}"):
                assert word in str(misfit), misfit
            captured.restart(misfit.longer)
            for _ in range(3):
                wanted, found = here.step(given), captured(given)
                for name in wanted:
                    check_column(name, found[name], wanted[name])
            assert captured.is_captured
            assert captured._inputs.most == {**MOST, "tags": room}  # type: ignore[union-attr]
        for mine, theirs in zip(here.embedding.groups, there.embedding.groups, strict=True):
            assert check_equal(mine, theirs) > 10
        flat = Batch.of({**columns, "tags": Ragged(long.values[:0], (empty,))})
        assert "'tags' has 1 level, that of the captured step has 2 levels" in raises(DataError, lambda: captured(flat))
        for wrong in ((3,), (3, 4, 5)):
            given_most = CapturedStep(there.step, there.optimizer, most_values={"tags": wrong})
            message = raises(ConfigError, lambda: given_most(batch))  # noqa: B023
            assert f"column 'tags' has 2 levels, found {len(wrong)} numbers" in message, message


def refusals_are_asked_for() -> None:
    """`check`, `restart` and `make_room` tell what replays refused, once, and say how many replays ago it was."""
    with graphs():
        engine = FeatureEngine([Feature("kind").select("kind").vocabulary(["a", "b"])])
        embedding = EmbeddingEngine({"id": EmbeddingOption(dim=2, device=DEVICE, rule="sgd")}, rows_per_block=64)
        optimizer = SparseOptimizer(embedding)

        def step(batch: Batch) -> None:
            engine(batch)
            embedding(batch)["id"].sum().backward()
            optimizer.step()
            optimizer.zero_grad()

        def batch(kinds: str) -> Batch:
            values = torch.tensor(list(kinds.encode()), dtype=torch.uint8)
            return Batch.of({"id": torch.arange(len(kinds)), "kind": Ragged(values, (torch.arange(len(kinds) + 1),))}).to(DEVICE)

        captured = CapturedStep(step, optimizer, room=30)
        captured.check()
        captured.restart()
        for _ in range(4):
            captured(batch("abab"))
        captured.check()
        # The graph counts on.
        for ask, num_refused in ((captured.check, 2), (captured.restart, 4), (captured.make_room, 2)):
            for _ in range(3):
                captured(batch("abba"))
            captured(batch("abxx"))
            num_steps = optimizer.groups[0].step
            refusal = caught(LateRefusal, ask)
            assert "feature 'kind', column 'kind'" in str(refusal)
            assert f"vocabulary refused {num_refused} values" in str(refusal)
            assert refusal.ago[-1] == 0
            assert len(refusal.ago) <= 4
            assert captured.is_captured, "nothing was done"
            assert optimizer.groups[0].step == num_steps
            captured.check()
            ask()
            for _ in range(3):
                captured(batch("abab"))
