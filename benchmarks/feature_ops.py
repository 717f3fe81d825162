"""feature_ops: transforms of 30 and 200 columns beside the best single library on the same columns; chains; the features of a DeepFM step.

    python -m benchmarks feature_ops [--columns 30,200] [--threads 2]

Sparrow is timed through `FeatureEngine`, the peers as their users call them, column by column. Rates are input values (strings) a second.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping

import torch

from benchmarks.criteo_deepfm import parts_of
from benchmarks.feature_workload import BOUNDARIES, DIVISOR, KEEP, Columns, make_columns, text_peers, truncation_peers
from benchmarks.harness import Options, Result, copy_bandwidth, interleaved
from sparrow.features import Feature, FeatureEngine
from sparrow.io import Dataset
from sparrow.models import DeepFM
from sparrow.optim import CombinedOptimizer, SparseOptimizer
from sparrow.types import Batch, ColumnSpec, Ragged

_MOST_OF_A_LINK, _MOST_A_COLUMN, _MOST_OF_A_STEP = 1.5, 1.1, 0.1


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--columns", default="30,200", help="numbers of columns, by commas")


def _engine(num_columns: int, declare: Callable[[Feature], Feature]) -> FeatureEngine:
    return FeatureEngine([declare(Feature(f"f{k}").select(f"c{k}")) for k in range(num_columns)])


class _Case:
    """What Sparrow does to one kind of column, what peers do, and the ratio wanted."""

    def __init__(self, name: str, kind: str, declare: Callable[[Feature], Feature], moved: int, goals: Mapping[str, float]) -> None:
        self.name, self.kind, self.declare, self.goals = name, kind, declare, goals
        self.moved = moved  # bytes a value, read and written


_CASES = (
    _Case("bucketize, 100 boundaries", "numbers", lambda f: f.bucketize(BOUNDARIES.tolist()), 12, {"torch.bucketize": 5.0}),
    _Case("unsigned mod", "ids", lambda f: f.mod(DIVISOR), 16, {"torch.remainder": 2.0}),
    _Case("truncate to 10", "ids", lambda f: f.truncate(KEEP), 12, {"fbgemm jagged_slice": 1.5}),
    _Case(
        "farm hash of strings", "strings", lambda f: f.hash("farm"), 16, {"tensorflow to_hash_bucket_fast": 2.0, "polars Series.hash": 1.0}
    ),
)


def _peers(case: _Case, columns: Columns) -> dict[str, Callable[[], object]]:
    if case.kind == "strings":
        return text_peers(columns)
    if case.name.startswith("truncate"):
        return truncation_peers(columns)
    if case.kind == "ids":
        return {"torch.remainder": lambda: [ids.remainder(DIVISOR) for ids in columns.ids]}
    single = BOUNDARIES.float()
    return {"torch.bucketize": lambda: [torch.bucketize(numbers, single, right=True) for numbers in columns.numbers]}


def _check(case: _Case, columns: Columns, out: Batch) -> None:
    """Compare the first and the last column with torch's operators."""
    for place in (0, len(columns.ids) - 1):
        made, ids, offsets = out[f"f{place}"], columns.ids[place], columns.offsets[place]
        assert isinstance(made, Ragged)
        if case.kind == "numbers":
            assert torch.equal(made.values, torch.bucketize(columns.numbers[place].double(), BOUNDARIES, right=True))
        elif case.name == "unsigned mod":
            # torch has no unsigned remainder: 2^64 = 2 * 2^63, in parts that do not overflow.
            wrapped = (ids & (2**63 - 1)) % DIVISOR + (ids < 0) * (2**63 % DIVISOR)
            assert torch.equal(made.values, wrapped % DIVISOR)
        elif case.kind == "ids":
            assert torch.equal(made.offsets[0].diff(), offsets.diff().clamp(max=KEEP))
            assert torch.equal(made.values[:KEEP][: int(made.offsets[0][1])], ids[: int(made.offsets[0][1])])


def run(options: Options) -> Iterable[Result]:
    torch.set_num_threads(options.threads)
    counts = [int(text) for text in options.more.columns.split(",")]
    seconds_a_value: dict[str, list[float]] = {}
    for count in counts:
        columns = make_columns(count, strings=count == min(counts))
        for case in _CASES:
            if case.kind == "strings" and not columns.strings:
                continue
            engine, batch = _engine(count, case.declare), columns.batch(case.kind)
            _check(case, columns, engine(batch))
            functions = {"sparrow": lambda engine=engine, batch=batch: engine(batch), **_peers(case, columns)}
            taken = interleaved(functions, options.runs)
            seconds_a_value.setdefault(case.name, []).append(taken["sparrow"] / columns.num_values)
            yield from _results(f"{case.name}, {count} columns", case, columns, taken)
        yield from _chain(count, columns, options)
    if len(counts) > 1:
        for name, (few, *_, many) in ((name, taken) for name, taken in seconds_a_value.items() if len(taken) > 1):
            times = many / few
            goal = f"at most {_MOST_A_COLUMN}"
            yield Result(
                f"{name}: a value of {counts[-1]} columns over one of {counts[0]}",
                "time ratio",
                "",
                times,
                goal=goal,
                met=times <= _MOST_A_COLUMN,
            )
    yield from _criteo(options)


def _results(name: str, case: _Case, columns: Columns, taken: dict[str, float]) -> Iterable[Result]:
    values = columns.num_values
    moved = case.moved * values + (columns.string_bytes if case.kind == "strings" else 0)
    mbu = moved / taken["sparrow"] / copy_bandwidth()
    for peer, seconds in taken.items():
        if peer != "sparrow":
            ratio, goal = seconds / taken["sparrow"], case.goals.get(peer)
            yield Result(
                name, "throughput", "M/s", values / taken["sparrow"] / 1e6, peer, values / seconds / 1e6, ratio, mbu,
                "" if goal is None else f"{goal} times", None if goal is None else ratio >= goal,
            )  # fmt: skip
    if len(taken) == 1:
        yield Result(name, "throughput", "M/s", values / taken["sparrow"] / 1e6, mbu=mbu)


def _chain(count: int, columns: Columns, options: Options) -> Iterable[Result]:
    """Five transforms in one pass, beside the slowest of them alone."""
    links: dict[str, Callable[[Feature], Feature]] = {
        "clip": lambda f: f.clip(0, 1000),
        "log1p": lambda f: f.log1p(),
        "zscore": lambda f: f.zscore(1.0, 2.0),
        "min_max": lambda f: f.min_max(-1, 3),
        "bucketize": lambda f: f.bucketize([number / 10 for number in range(1, 10)]),
    }

    def chain(feature: Feature) -> Feature:
        for link in links.values():
            feature = link(feature)
        return feature

    batch = columns.batch("numbers")
    engines = {"sparrow": _engine(count, chain), **{name: _engine(count, link) for name, link in links.items()}}
    taken = interleaved({name: lambda engine=engine: engine(batch) for name, engine in engines.items()}, options.runs)
    slowest = max(links, key=lambda name: taken[name])
    times = taken["sparrow"] / taken[slowest]
    goal = f"at most {_MOST_OF_A_LINK}"
    yield Result(
        f"chain of 5 over its slowest link ({slowest}), {count} columns", "time ratio", "", times, goal=goal, met=times <= _MOST_OF_A_LINK
    )


def _criteo(options: Options) -> Iterable[Result]:
    """The share that features have in a DeepFM step of the Criteo rows."""
    numbers, categories = [f"i{k}" for k in range(1, 14)], [f"c{k}" for k in range(1, 27)]
    features = [Feature(n).select(n).fill(0.0).log1p() for n in numbers] + [Feature(c).select(c) for c in categories]
    model = DeepFM(features, dense=numbers, sparse=categories, dim=16, hidden=(256, 128, 64))
    optimizer = CombinedOptimizer(torch.optim.Adam(model.parameters(), lr=1e-3), SparseOptimizer(model, lr=1e-3))
    label = ColumnSpec("label", kind="dense", dtype=torch.float32)
    batches = list(Dataset(parts_of(options.data)[:2], [label, *model.columns], batch_size=1024))
    place = iter(range(10**9))

    def step() -> None:
        batch = batches[next(place) % len(batches)]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(model(batch), batch["label"].reshape(-1))  # type: ignore[union-attr]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    taken = interleaved({"step": step, "features": lambda: model.features(batches[next(place) % len(batches)])}, max(25, options.runs))
    share = taken["features"] / taken["step"]
    goal = f"at most {_MOST_OF_A_STEP}"
    yield Result(
        "share of features in a DeepFM step, Criteo, batch 1,024", "time ratio", "", share, goal=goal, met=share <= _MOST_OF_A_STEP
    )
