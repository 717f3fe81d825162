"""DIN on MovieLens-100k: does attention over what somebody rated before tell what they will like next?

    python examples/movielens_din.py [FOLDER OF ml-100k.inter, .item, .user] [WORK FOLDER]        (default: runs/movielens_din)

The protocol:

- A row is a rating, its label whether it is 4 or 5. Its history is what the same user rated before, the newest 50. Ratings of the same
  second have no known order and are left out, so a history holds nothing that was not there when the row was made.
- One clock for all: rows are cut by time into the first 70% to train on, the next 10% to choose settings on, and the last 20% to test on,
  once. (To test on each user's own last ratings instead would train on ratings that others gave later.) So most users of the test
  are new: models know them by age, gender, occupation and history, never by their number.
- Everyone is judged on the same rows, by AUC and by GAUC, the mean of each user's own AUC weighted by the user's rows, which knowing who
  rates kindly does not raise. Every model is trained from several seeds; a difference counts where it exceeds what their spread explains.
  That is luck in training alone: another time and other users would differ by more.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pyarrow import csv, parquet
from torch import nn

from sparrow import knobs
from sparrow.errors import ConfigError
from sparrow.features import Feature
from sparrow.io import Dataset, Shuffle
from sparrow.models import DIN, LogisticRegression
from sparrow.optim import CombinedOptimizer, SparseOptimizer
from sparrow.pipelines import LearningRateSchedule, Trainer, seed_everything

FILES = ("ml-100k.inter", "ml-100k.item", "ml-100k.user")
PARTS = ("train", "validation", "test")
CUTS = (0.7, 0.8)  # of the rows, in order of time: where validation and test begin
KEPT, HISTORY = 60, 50  # ratings of a history in the files, and those that models read
SEEDS = (1, 2, 3)
T_95 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)  # of two seeds and more
BATCH_SIZE = 256

PROTOCOL = (
    "ratings in order of time: first 70% to train on, 10% to choose settings on, last 20% to test on, once;\n"
    f"             liked = 4 or 5; a history is the user's newest {HISTORY} ratings of earlier seconds"
)

LOGISTIC = "logistic regression"
# The networks, which differ in nothing but the pooling of the history; attention stands below its like without attention.
POOLING = {"sum pooling": "sum", "DIN": "attention", "mean pooling": "mean", "DIN, softmax": "softmax"}
MODELS = (LOGISTIC, *POOLING)
# Epochs, learning rate, and its factor after each epoch: chosen on the validation rows, for all networks alike.
SCHEDULE = {LOGISTIC: (4, 2e-2, 0.6), **dict.fromkeys(POOLING, (2, 2e-3, 0.4))}

MINUTE, HOUR, DAY = 60, 3600, 86400
GENRES = [
    "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy", "Film-Noir", "Horror",
    "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western", "unknown",
]  # fmt: skip
PROFILE = ["age", "gender", "occupation", "past_length"]
TARGET = ["item", "genres", "year"]
CONTEXT = ["hour"]
SEQUENCE: dict[str, str | None] = {"past_item": "item", "past_genres": "genres", "past_stars": None, "past_recency": None}


def features() -> list[Feature]:
    """All that models read, from columns as they are in the files."""

    def past(name: str) -> Feature:
        return Feature(name).select(name).truncate(HISTORY, keep="tail")

    return [
        Feature("age").select("age").bucketize([18, 25, 35, 45, 50, 56]),
        Feature("gender").select("gender").vocabulary(["F", "M"]),
        Feature("occupation").select("occupation").hash("farm"),
        Feature("past_length").select("past_item").length().bucketize([1, 5, 10, 20, 50]),
        Feature("item").select("item"),
        Feature("genres").select("genres").vocabulary(GENRES),
        Feature("year").select("year").bucketize([1950, 1970, 1980, 1990, 1993, 1995, 1996, 1997, 1998]),
        Feature("hour").select("timestamp").mod(DAY).quotient(HOUR),
        past("past_item"),
        past("past_genres").vocabulary(GENRES),
        past("past_stars"),
        Feature("past_recency")
        .select("timestamp")
        .time_difference(past("past_timestamp"))
        .bucketize([MINUTE, 10 * MINUTE, HOUR, DAY, 7 * DAY, 30 * DAY]),
    ]


def build(name: str, seed: int) -> nn.Module:
    """Return a model of the table."""
    names = [*PROFILE, *TARGET, *CONTEXT]
    if name == LOGISTIC:
        return LogisticRegression(features(), dense=[], sparse=[*names, "past_item", "past_stars"], combiner="mean", seed=seed)
    return DIN(
        features(), dense=[], sparse=names, sequences=[SEQUENCE], dim=16, hidden=(64, 32), attention_hidden=(32,), combiner="mean",
        pooling=POOLING[name], seed=seed,
    )  # fmt: skip


# The data, once.


def prepare(source: Path, folder: Path) -> None:
    """Write train.parquet, validation.parquet and test.parquet into `folder`, unless an equal preparation did."""
    missing = [name for name in FILES if not (source / name).exists()]
    if missing:
        raise ConfigError(
            f"{source} has no {', '.join(missing)}; give the folder of MovieLens-100k with {', '.join(FILES)} (tab-separated, with headers "
            f"such as user_id:token), as the first argument, or put it into {knobs.data_folder()} (SPARROW_DATA names another)"
        )
    sizes = {name: (source / name).stat().st_size for name in FILES}
    spec = {"source": sizes, "cuts": list(CUTS), "kept": KEPT, "format": 2}
    mark = folder / "prepared.json"
    if mark.exists() and json.loads(mark.read_text()) == spec:
        print(f"1. data: already there: {folder}", flush=True)
        return
    began = time.perf_counter()
    rows = rows_of(*(read(source / name) for name in FILES))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    when = rows["timestamp"].to_numpy()
    # Rows of one second stay together.
    borders = [0, *np.searchsorted(when, [when[int(rows.num_rows * share)] for share in CUTS]).tolist(), rows.num_rows]
    for name, begin, end in zip(PARTS, borders, borders[1:], strict=False):
        parquet.write_table(rows.slice(begin, end - begin), folder / f"{name}.parquet", row_group_size=10_000)
    mark.write_text(json.dumps(spec))
    print(f"1. data: {rows.num_rows:,} ratings in order of time, made in {time.perf_counter() - began:.0f} s: {folder}", flush=True)


def read(path: Path) -> pa.Table:
    """Return a tab-separated file; of its headers, `name:type`, the names."""
    table = csv.read_csv(path, parse_options=csv.ParseOptions(delimiter="\t", quote_char=False))
    return table.rename_columns([name.partition(":")[0] for name in table.column_names])


def rows_of(ratings: pa.Table, movies: pa.Table, users: pa.Table) -> pa.Table:
    """Return a row a rating, in order of time, with the user, the movie and the history at that time."""
    ratings = ratings.sort_by([("timestamp", "ascending"), ("user_id", "ascending"), ("item_id", "ascending")])
    stars, when = ratings["rating"].to_numpy().astype(np.int64), ratings["timestamp"].to_numpy()
    movie = pa.compute.index_in(ratings["item_id"], movies["item_id"]).combine_chunks()
    person = pa.compute.index_in(ratings["user_id"], users["user_id"]).combine_chunks()
    genres = pa.array([text.split() for text in movies["class"].to_pylist()], pa.list_(pa.string())).take(movie)
    # Two movies have a word there.
    years = pa.array([int(text) if text.isdigit() else 0 for text in movies["release_year"].to_pylist()], pa.int64())
    earlier = earlier_rows(ratings["user_id"].to_numpy(), when)
    lengths, flat = [len(rows) for rows in earlier], np.concatenate(earlier)
    offsets = pa.array(np.cumsum([0, *lengths]), pa.int32())

    def past(values: pa.Array) -> pa.Array:
        return pa.ListArray.from_arrays(offsets, values)

    return pa.table(
        {
            "label": pa.array(stars >= 4).cast(pa.int8()),
            "user": ratings["user_id"],
            "timestamp": when,
            **{name: users[name].take(person) for name in ("age", "gender", "occupation")},
            "item": ratings["item_id"],
            "genres": genres,
            "year": years.take(movie),
            "past_item": past(ratings["item_id"].combine_chunks().take(pa.array(flat))),
            "past_genres": past(genres.take(pa.array(flat))),
            "past_stars": past(pa.array(stars[flat])),
            "past_timestamp": past(pa.array(when[flat])),
        }
    )


def earlier_rows(user: np.ndarray, when: np.ndarray) -> list[np.ndarray]:
    """Return for each row, rows being in order of time, which rows its history is: the newest `KEPT` of its user before its second."""
    earlier: list[np.ndarray] = [np.zeros(0, np.int64)] * user.size
    for one in np.unique(user):
        rows = np.flatnonzero(user == one)
        ends = np.searchsorted(when[rows], when[rows], side="left")
        for row, end in zip(rows, ends, strict=True):
            earlier[row] = rows[max(0, end - KEPT) : end]
    return earlier


# The models.


def train_and_evaluate(name: str, seed: int, folder: Path, judged_on: str) -> dict[str, Any]:
    """Return the metrics of a model, trained on the training rows, on the rows of another part."""
    seed_everything(seed)
    model = build(name, seed)
    epochs, lr, factor = SCHEDULE[name]
    optimizer = CombinedOptimizer(torch.optim.Adam(model.parameters(), lr=lr), SparseOptimizer(model, lr=lr))
    schedule = LearningRateSchedule(torch.optim.lr_scheduler.ExponentialLR(optimizer, factor), each="epoch")
    columns: list[Any] = ["label", *model.columns]
    train = Dataset(str(folder / "train.parquet"), columns, batch_size=BATCH_SIZE, shuffle=Shuffle(seed=seed))
    judged = Dataset(str(folder / f"{judged_on}.parquet"), [*columns, "user"], batch_size=4096)
    trainer = Trainer(model, optimizer, group="user", seed=seed, progress=False, hooks=[schedule])
    return dict(trainer.fit(train, epochs=epochs, evaluate_on=judged)["eval"])


def compare(folder: Path, judged_on: str = "test") -> dict[str, list[dict[str, Any]]]:
    """Return the metrics of every model, a dict a seed."""
    print(f"2. {len(MODELS)} models, each trained from {len(SEEDS)} seeds", flush=True)
    # One thread: for nets this small a second one gains little on an idle machine and costs much on a busy one.
    torch.set_num_threads(1)
    results = {}
    for name in MODELS:
        began = time.perf_counter()
        results[name] = [train_and_evaluate(name, seed, folder, judged_on) for seed in SEEDS]
        print(f"   {name}: {time.perf_counter() - began:.0f} s", flush=True)
    return results


def show(results: dict[str, list[dict[str, Any]]], judged_on: str = "test") -> None:
    """Print a line a model, mean and spread over the seeds, and what attention did."""
    one = results["DIN"][0]
    print(f"\n   {one['num_samples']:,} {judged_on} rows after all training rows in time, {one['click_rate']:.0%} of them liked;")
    print(f"   GAUC over {one['num_groups'] - one['num_groups_left_out']} users, {one['num_groups_left_out']} left out: one class only")
    print(f"   {'':<20}  {'AUC':>15}  {'GAUC':>15}  {'log loss':>15}    (mean and standard deviation of {len(SEEDS)} seeds)")
    for name, runs in results.items():
        cells = [mean_and_spread([run[key] for run in runs]) for key in ("auc", "gauc", "log_loss")]
        print(f"   {name:<20}  " + "  ".join(f"{mean:.4f} ± {spread:.4f}" for mean, spread in cells))
    for attention, other in (("DIN", "sum pooling"), ("DIN, softmax", "mean pooling")):
        for key in ("auc", "gauc"):
            differences = [mine[key] - its[key] for mine, its in zip(results[attention], results[other], strict=True)]
            print(f"   {key.upper()}: {verdict(attention, other, differences)}")


def verdict(attention: str, other: str, differences: list[float]) -> str:
    """Say whether attention beats `other`: whether the mean difference of the same seeds is beyond the 95% interval of Student's t."""
    mean, spread = mean_and_spread(differences)
    is_clear = len(differences) > 1 and abs(mean) > T_95[len(differences) - 2] * spread / len(differences) ** 0.5
    says = "does not differ clearly from" if not is_clear else "beats" if mean > 0 else "loses to"
    return f"{attention} {says} {other}: {mean:+.4f} ± {spread:.4f} seed by seed"


def mean_and_spread(values: list[float]) -> tuple[float, float]:
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def main() -> None:
    began = time.perf_counter()
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else knobs.data_folder() / "ml-100k"
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("runs/movielens_din")
    print(f"   protocol: {PROTOCOL}")
    prepare(source, folder / "data")
    show(compare(folder / "data"))
    print(f"   {time.perf_counter() - began:.0f} s in all")


if __name__ == "__main__":
    try:
        main()
    except ConfigError as error:
        sys.exit(f"error: {error}")
