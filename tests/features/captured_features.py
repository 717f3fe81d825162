"""What `test_captured_features.py` runs, each in a process of its own: features inside captured steps, beside eager ones on the CPU.

On a GPU where there is one, by CUDA graphs; else on the device of `strict_device`, by the records of `recorded_steps`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from capture_scenarios import forget_caches, graphs
from device_scenarios import DEVICE, check_equal, device, raises, same_bits
from sparrow.embedding import EmbeddingEngine, EmbeddingOption
from sparrow.errors import BackendError, DataError
from sparrow.features import Feature, FeatureEngine, registry
from sparrow.ops import library
from sparrow.ops.recorded import RecordedStep
from sparrow.optim import CapturedStep, SparseOptimizer
from sparrow.tables import Uniform
from sparrow.types import Batch, Column, Group, Ragged

ROWS = 7
# Values that ragged columns have memory for; `l0` is full now and then.
MOST = {"n1": ROWS, "f0": 24, "l0": 20, "l1": 26, "w0": 19, "s0": 60, "t0": 20, "t1": 20, "values": 30}
NUM_INNER = 12


def every_transform() -> list[Feature]:
    """Features with every transform that a captured step takes."""
    cut, weighted, wide = Feature("cut").select("l0").truncate(2, keep="tail"), Feature("w").select("w0"), Feature("wide").select("d0")
    finite = Feature("finite").select("f0").finite("replace", 0.5)
    return [
        Feature("price").select("n1").fill(0.0).log1p(),
        Feature("clipped").select("f0").truncate(2).finite("count").clip(-2, 2).min_max(-2, 2),
        finite.zscore(0.5, 2.0).log(),
        Feature("single").select("f0").truncate(3).finite("replace", 0.0).cast("float32").cast("float64"),
        Feature("whole").select("whole").truncate(2).cast("int64").mod(7),
        Feature("words").select("s0").vocabulary(["a", "bc", ""], oov_buckets=5),
        Feature("known").select("l0").unique().vocabulary(list(range(-40, 41))),
        Feature("missing").select("l0").vocabulary([3, -4, 2**62], missing=9),
        *Feature("s").select("s0").hash("xxh64", non_negative=True).multi_hash([10, 20]),
        *Feature("qr").select("l1").quotient_remainder(7),
        Feature("bucket").select("f0").truncate(2).bucketize([-1, 0, 0.5]),
        Feature("padded").select("l0").pad(3, value=-1, side="left", keep="tail"),
        Feature("mask").select("l0").mask(3),
        Feature("unique").select("l0").hash("farm").unique(),
        Feature("summed").select("w0").unique(weights="sum"),
        Feature("top").select("w0").top(2),
        Feature("heavy").select("w0").top(1).weights().clip(0, 0.5),
        Feature("length").select("l1").truncate(3).length(),
        cut.concat("l1", "id"),
        Feature("both").select("w0").concat(cut),
        Feature("side").select("d0").concat(wide),
        Feature("pairs").select("id").cross(weighted.unique()),
        Feature("single pair").select("id").cross(Feature("h").select("s0").hash()),
        Feature("found").select("l0").lookup("l1", "l1", default=-1),
        Feature("worth").select("l0").lookup(weighted.top(2)),
        Feature("match").select("id").match(cut),
        Feature("matches").select("l0").match(cut),
        Feature("overlap").select("l0").overlap(cut, "jaccard"),
        Feature("ago").select("time").time_difference("l0"),
        Feature("since").select("l0").time_difference("time").bucketize([-5, 0, 5]),
        Feature("late").select("f0").time_difference(finite.log1p()),
        # Lists of lists.
        Feature("nested").select("nested").pad((2, None)),
        Feature("squares").select("nested").pad((2, 3)),
        Feature("short").select("nested").truncate(1),
        Feature("small").select("nested").truncate(1, level=1).mod(5),
        Feature("kinds").select("nested").pad((2, None)).unique().hash(),
    ]


def batch_of(random: torch.Generator, number: int) -> Batch:
    """Return a batch of what `every_transform` reads, its lists between none at all and as much as there is memory for."""

    def offsets(rows: int, most: int) -> Tensor:
        if number % 6 == 3:
            return torch.zeros(rows + 1, dtype=torch.int64)
        cuts = torch.randint(0, most + 1, (rows,), generator=random).sort().values
        if number % 4 == 1:
            cuts[-1] = most
        return torch.cat([torch.zeros(1, dtype=torch.int64), cuts])

    def lists(name: str, make: Callable[[int], Tensor], *, weighted: bool = False) -> Ragged:
        ends = offsets(ROWS, MOST[name])
        size = int(ends[-1])
        return Ragged(make(size), (ends,), torch.rand(size, generator=random) if weighted else None)

    def ids(size: int) -> Tensor:
        return torch.randint(-40, 41, (size,), generator=random)

    def numbers(size: int) -> Tensor:
        values = torch.randn(size, generator=random)
        values[torch.rand(size, generator=random) < 0.2] = float("nan")
        return values

    one = torch.cat([torch.zeros(1, dtype=torch.int64), torch.randint(0, 2, (ROWS,), generator=random).cumsum(0)])
    outer = offsets(ROWS, NUM_INNER)
    inner = offsets(int(outer[-1]), MOST["values"]) if int(outer[-1]) else torch.zeros(1, dtype=torch.int64)
    whole = lists("f0", lambda size: torch.randint(-9, 9, (size,), generator=random).double())
    columns: dict[str, Column] = {
        "n1": Ragged(torch.randn(int(one[-1]), generator=random), (one,)),
        "f0": lists("f0", numbers),
        "whole": whole,
        "l0": lists("l0", ids),
        "l1": lists("l1", ids),
        "w0": lists("w0", ids, weighted=True),
        "s0": lists("s0", lambda size: torch.randint(97, 100, (size,), generator=random).to(torch.uint8)),
        "id": ids(ROWS),
        "time": ids(ROWS),
        "d0": torch.randn(ROWS, 3, generator=random),
    }
    values = ids(MOST["values"])
    # A step takes columns of one level: it puts these together.
    ends = torch.cat([inner, inner[-1:].expand(NUM_INNER + 1 - inner.numel())])
    return Batch(
        {
            "sample": Group(columns, ROWS),
            "outer": Group({"outer": outer}, ROWS + 1),
            "inner": Group({"inner": ends}, NUM_INNER + 1),
            "values": Group({"values": values}, values.numel()),
        }
    )


class Stepping:
    """Features, and tables for some of them."""

    IDS = ("unique", "top", "qr_remainder", "cut", "pairs", "bucket", "s_0", "single pair", "since")

    def __init__(self, place: torch.device | str) -> None:
        self.engine = FeatureEngine(every_transform())
        options = {
            name: EmbeddingOption(dim=3, device=place, initializer=Uniform(-1.0, 1.0), combiner=("sum", "mean", "sqrtn")[number % 3])
            for number, name in enumerate(self.IDS)
        }
        self.embedding = EmbeddingEngine(options, seed=3, rows_per_block=64)
        self.optimizer = SparseOptimizer(self.embedding, lr=0.1)

    def step(self, batch: Batch, nested: Ragged | None = None) -> dict[str, Column]:
        nested = nested or Ragged(batch["values"], (batch["outer"], batch["inner"]))
        given = Batch.of({**batch.groups["sample"].columns, "nested": nested})
        made = self.engine(given)
        embedded = self.embedding(made)
        sum((embedded[name] ** 2).sum() for name in self.IDS).backward()  # type: ignore[union-attr]
        self.optimizer.step()
        self.optimizer.zero_grad()
        # Copies: what is returned is overwritten, and features may be columns of the batch.
        return {name: made[name] for name in made}


def exact(batch: Batch) -> Ragged:
    """Return the nested column with no memory behind its last list and value."""
    outer, inner = batch["outer"], batch["inner"][: int(batch["outer"][-1]) + 1]
    return Ragged(batch["values"][: int(inner[-1])], (outer, inner))


def check_column(name: str, mine: Column, theirs: Column) -> None:
    """Check that a captured step's column holds `theirs`, and behind its last list only empty ones."""
    if isinstance(theirs, Tensor):
        assert isinstance(mine, Tensor), name
        assert same_bits(mine.cpu(), theirs), (name, mine.cpu().flatten().tolist(), theirs.flatten().tolist())
        return
    assert isinstance(mine, Ragged), name
    assert len(mine.offsets) == len(theirs.offsets), name
    for level, (made, wanted) in enumerate(zip(mine.offsets, theirs.offsets, strict=True)):
        made = made.cpu()
        assert same_bits(made[: wanted.numel()], wanted), (name, level, made, wanted)
        assert (made[wanted.numel() :] == wanted[-1]).all(), (name, level, made, wanted)
    size = theirs.values.numel()
    assert same_bits(mine.values.cpu()[:size], theirs.values), name
    assert (mine.weights is None) == (theirs.weights is None), name
    if mine.weights is not None and theirs.weights is not None:
        assert same_bits(mine.weights.cpu()[:size], theirs.weights), name


def features_are_replayed(num_steps: int) -> None:
    """Every feature of every step, rows of tables and counters, bit for bit; growth in between captures again."""
    random = torch.Generator().manual_seed(5)
    with graphs() as no_waiting:
        here, there = Stepping("cpu"), Stepping(DEVICE)
        used = {unit.kind for node in there.engine.plan.nodes for unit in node.units if unit.kind != "map"}
        used |= {one.kind for node in there.engine.plan.nodes for unit in node.units for one in getattr(unit, "transforms", ())}
        ours = {kind for kind, transform in registry._KNOWN.items() if transform.__module__.startswith("sparrow.features.transforms")}
        assert not ours - used, f"every_transform has no {sorted(ours - used)}"
        most = {**{name: size for name, size in MOST.items() if name in ("n1", "f0", "l0", "l1", "w0", "s0")}, "whole": MOST["f0"]}
        captured = CapturedStep(there.step, there.optimizer, most_values=most, room=24)
        num_replayed = num_captured = 0
        for number in range(num_steps):
            if number % 10 == 5:
                forget_caches()
            batch = batch_of(random, number)
            moved, wanted = batch.to(DEVICE), here.step(batch, exact(batch))
            if number % 19 == 14:
                captured.make_room()
            if captured.is_captured:
                with no_waiting():
                    found, num_replayed = captured(moved), num_replayed + 1
            else:
                found, num_captured = captured(moved), num_captured + captured.is_captured
            assert list(found) == list(wanted)
            for name in wanted:
                check_column(name, found[name], wanted[name])
            assert there.engine.counters == here.engine.counters
            if number % 20 == 13:
                # An eager step in between, of a batch as it comes.
                batch = batch_of(random, number)
                there.step(batch.to(DEVICE), exact(batch.to(DEVICE)))
                here.step(batch, exact(batch))
        assert there.engine.counters["clipped"] > 10
        assert num_replayed > num_steps // 2
        assert num_captured > 1
        for mine, theirs in zip(here.embedding.groups, there.embedding.groups, strict=True):
            assert check_equal(mine, theirs) > 100


def _longer(name: str, column: Column, random: torch.Generator) -> Column:
    """Return a column with memory behind its last value, which holds anything."""
    if isinstance(column, Tensor):
        return column
    missing = MOST.get(name, MOST["f0"]) - column.values.numel()
    garbage = torch.randint(0, 256, (missing * column.values.element_size(),), generator=random).to(torch.uint8).view(column.values.dtype)
    weights = None if column.weights is None else torch.cat([column.weights, torch.full((missing,), float("nan"))])
    return Ragged(torch.cat([column.values, garbage]), column.offsets, weights)


def memory_behind_lists_is_not_looked_at(num_batches: int) -> None:
    """Features of columns that have more memory than values, as kernels of a recorded step are given them; no graph is captured."""
    random = torch.Generator().manual_seed(7)
    with device():
        here, there = FeatureEngine(every_transform()), FeatureEngine(every_transform())
        for number in range(num_batches):
            batch = batch_of(random, number)
            columns = dict(batch.groups["sample"].columns)
            wanted = here(Batch.of({**columns, "nested": exact(batch)}))
            longer = {name: _longer(name, column, random) for name, column in columns.items()}
            nested = Ragged(batch["values"], (batch["outer"], batch["inner"]))
            with RecordedStep().active(capturing=False):
                found = there(Batch.of({**longer, "nested": nested}).to(DEVICE))
            for name in wanted:
                check_column(name, found[name], wanted[name])
            assert there.counters == here.counters


class Small:
    """Features in a captured step, beside a table."""

    def __init__(self, features: list[Feature], **options: Any) -> None:
        self.engine = FeatureEngine(features)
        embedding = EmbeddingEngine({"id": EmbeddingOption(dim=2, device=DEVICE, rule="sgd")}, rows_per_block=64)
        self.optimizer = SparseOptimizer(embedding)

        def step(batch: Batch) -> None:
            self.engine(batch)
            embedding(batch)["id"].sum().backward()
            self.optimizer.step()
            self.optimizer.zero_grad()

        self.step, self.captured = step, CapturedStep(step, self.optimizer, room=20, **options)

    def take(self, columns: dict[str, Column], times: int = 1) -> None:
        for _ in range(times):
            self.captured(Batch.of(columns).to(DEVICE))

    @property
    def num_steps(self) -> int:
        return self.optimizer.groups[0].step


def _lists(*rows: list[Any], dtype: torch.dtype = torch.int64) -> Ragged:
    ends = torch.tensor([0, *map(len, rows)]).cumsum(0)
    return Ragged(torch.tensor([value for row in rows for value in row], dtype=dtype), (ends,))


def what_a_capture_refuses() -> None:
    """Each refusal names the feature and what to do, before anything is captured."""
    id, a, b = torch.tensor([1, 2]), _lists([1, 2], [3]), _lists([4], [5, 6])
    wide = torch.tensor([[1, 2], [3, 4]])

    with graphs():
        for feature, columns, most, *said in (
            (Feature("x").select("a").cross("b"), {"a": a, "b": b}, {}, "cross of 2 columns of lists", "before the step"),
            (Feature("x").select("a").cross("wide"), {"a": a, "wide": wide}, {}, "cross of 2 columns of lists"),
            (Feature("x").select("a").lookup("a", "b"), {"a": a, "b": b}, {"a": 9}, "9 keys and 6 items", "most_values"),
            (Feature("x").select("a").time_difference("b"), {"a": a, "b": b}, {"b": 8}, "6 values and for 8", "most_values"),
        ):
            small = Small([feature], most_values=most)
            message = raises(BackendError, lambda: small.take({"id": id, **columns}))  # noqa: B023
            for word in ("feature 'x'", "column 'a", *said):
                assert word in message, message
            assert small.num_steps == 0
        # Lists that samples share and that meet those of samples.
        small = Small([Feature("x").select("a").match("id")])
        shared = Group({"a": a}, 2, torch.tensor([1, 0, 1]))
        batch = Batch({"sample": Group({"id": torch.arange(3)}, 3), "user": shared}).to(DEVICE)
        message = raises(BackendError, lambda: small.captured(batch))
        assert "feature 'x': lists of group 'user'" in message, message
        # What is not of a `CapturedStep` has nobody who sends what kernels read.
        library.refuse_in_graph("find")
        message = raises(BackendError, lambda: library.refuse_in_graph("map_values"))
        assert "CapturedStep" in message


def what_replays_refuse() -> None:
    """A replay flags what an eager step refuses at once: a later call tells feature and transform, once, and does nothing."""
    fine: dict[str, Column] = {
        "id": torch.tensor([1, 2, 3]),
        "one": _lists([1.0], [], [], dtype=torch.float32),
        "large": _lists([1.0, 2.0], [3.0, 4.0], [], dtype=torch.float64),
        "words": _lists([97], [98], [], dtype=torch.uint8),
        "a": _lists([1, 2], [3], []),
    }
    features = [
        Feature("filled").select("one").fill(0.0),
        Feature("whole").select("large").truncate(2).cast("int64"),
        Feature("finite").select("large").truncate(2).finite(),
        Feature("word").select("words").vocabulary(["a", "b", ""]),
        Feature("place").select("a").truncate(2).vocabulary([1, 2, 3]),
        Feature("ago").select("id").time_difference("a"),
    ]
    wrong: list[tuple[dict[str, Column], str, str]] = [
        ({"one": _lists([], [], [1.0, 2.0], dtype=torch.float32)}, "feature 'filled', column 'one'", "fill refused 1 values"),
        ({"large": _lists([1.5], [0.5, 3.0], [], dtype=torch.float64)}, "feature 'whole', column 'large'", "cast refused 2 values"),
        ({"large": _lists([], [1e300, float("inf")], [], dtype=torch.float64)}, "feature 'finite', column 'large'", "finite refused 1"),
        ({"words": _lists([97], [99], [], dtype=torch.uint8)}, "feature 'word', column 'words'", "vocabulary refused 1 values"),
        ({"a": _lists([1], [2, 4], [])}, "feature 'place', column 'a'", "vocabulary refused 1 values"),
        ({"a": _lists([-(2**63)], [1], [])}, "feature 'ago', column 'id and a'", "a difference is beyond int64"),
    ]
    with graphs() as no_waiting:
        for columns, named, said in wrong:
            # The feature alone, so that no other refuses first.
            name = named.split("'")[1]
            small = Small([one for one in features if one.name == name], most_values={"one": 2, "words": 4, "large": 6, "a": 4})
            small.take(fine, times=3)
            # Values of batches before lie behind the last offset: they do not count.
            small.take({**fine, "large": _lists([2.0], [], [], dtype=torch.float64), "a": _lists([], [1], [])})
            given = Batch.of({**fine, **columns}).to(DEVICE)
            with no_waiting():
                small.captured(given)
            assert small.num_steps == 5
            if DEVICE.type == "cuda":
                torch.cuda.synchronize()  # or a later call would tell
            message = raises(DataError, lambda: small.take(fine))  # noqa: B023
            for word in (named, said, "step that a graph repeated"):
                assert word in message, message
            assert small.num_steps == 5, "a call that raises has done nothing"
            small.take(fine)
            # The function that was captured names the row.
            message = raises(DataError, lambda: small.step(given))  # noqa: B023
            assert "sample " in message, message
            # Whoever does not want to wait for a later call asks.
            small.captured.check()
            small.captured(given)
            assert said.split(" refused")[0] in raises(DataError, small.captured.check)
            small.captured.check()
        # Integers beyond the last offset are no differences: here the largest of all, and what was there before.
        small = Small([Feature("same").select("a").truncate(2).time_difference("a")], most_values={"a": 6})
        small.take({**fine, "a": _lists([1, -3], [-3, -3], [-3, -3])}, times=4)
        small.take({**fine, "a": _lists([], [1], [])}, times=2)


def counters_and_memory_of_several_captures() -> None:
    """What replays counted stays counted when the graph is gone, and eager steps count beside them; pads do not outlive their graph."""
    values = _lists([1.0, float("nan")], [float("inf")], dtype=torch.float32)
    with graphs() as no_waiting:
        small = Small([Feature("x").select("v").truncate(2).finite("count")], most_values={"v": 8})
        columns: dict[str, Column] = {"id": torch.tensor([1, 2]), "v": values}
        small.take(columns, times=5)
        assert small.engine.counters == {"x": 10}
        small.captured.make_room()
        small.step(Batch.of(columns).to(DEVICE))
        small.take(columns, times=3)
        given = Batch.of({**columns, "v": _lists([], [float("nan")], dtype=torch.float32)}).to(DEVICE)
        with no_waiting():
            small.captured(given)
        assert small.engine.counters == {"x": 10 + 2 + 6 + 1}
