"""DIN on MovieLens-100k: does attention over what a user rated before tell what she will like next?

    python examples/movielens_din.py [FOLDER OF ml-100k.inter, .item, .user] [WORK FOLDER]

The protocol, fixed before any result was seen:
- A row is a rating; its label is whether it is 4 or 5. Its history are the ratings the same user gave before, the newest 50; those given in
  the same second are of unknown order and left out, so nothing that follows a row is in its history.
- One clock for all: rows are cut by time, the first 70% to train on, the next 10% to choose settings and the number of epochs on, the last 20%
  to test on, once. Cutting each user's own last ratings off instead would train on ratings given after those it is tested on. Most
  users of the test are then new to the model; it knows them by age, gender, occupation and history, and never by their number.
- Everybody is tested on the same rows: AUC, and GAUC, the mean of each user's own AUC weighted by the user's rows, which a model cannot
  improve by knowing who rates kindly. Every network is trained from several seeds, and the spread is told.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import torch

from sparrow import knobs
from sparrow.errors import ConfigError
from sparrow.features import Feature
from sparrow.io import Dataset, Shuffle
from sparrow.models import DIN, LogisticRegression
from sparrow.optim import CombinedOptimizer, SparseOptimizer
from sparrow.pipelines import Trainer, seed_everything

KEPT, HISTORY = 50, 50  # ratings a row keeps in the files, and what the models read
PARTS = ("train", "validation", "test")
SHARES = (0.7, 0.1, 0.2)
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


def prepare(source: Path, folder: Path) -> None:
    ratings, movies, users = (_read(source / f"ml-100k.{kind}") for kind in ("inter", "item", "user"))
    order = np.lexsort((ratings["item_id"], ratings["user_id"], ratings["timestamp"]))
    user, item, stars, when = (ratings[name][order] for name in ("user_id", "item_id", "rating", "timestamp"))
    movie = {int(number): index for index, number in enumerate(movies["item_id"])}
    person = {int(number): index for index, number in enumerate(users["user_id"])}
    genres = [text.split() for text in movies["class"]]
    past = [np.zeros(0, np.int64)] * user.size
    for number in np.unique(user):
        rows = np.flatnonzero(user == number)  # in order of time
        ends = np.searchsorted(when[rows], when[rows], side="left")  # strictly before
        for row, end in zip(rows, ends, strict=True):
            past[row] = rows[max(0, end - KEPT) : end]
    of_movie = [movie[int(number)] for number in item]
    of_person = [person[int(number)] for number in user]
    years = pa.array([int(text) if text.isdigit() else 0 for text in movies["release_year"]], pa.int64())  # of two movies it says words
    movie_genres = pa.array(genres, pa.list_(pa.string()))
    offsets = np.cumsum([0, *map(len, past)]).astype(np.int32)
    flat = np.concatenate(past)

    def lists(values: pa.Array) -> pa.Array:
        return pa.ListArray.from_arrays(pa.array(offsets), values)

    table = pa.table(
        {
            "label": (stars >= 4).astype(np.int8),
            "user": user,
            "item": item,
            "genres": movie_genres.take(pa.array(of_movie)),
            "year": years.take(pa.array(of_movie)),
            "age": users["age"][of_person],
            "gender": pa.array(users["gender"]).take(pa.array(of_person)),
            "occupation": pa.array(users["occupation"]).take(pa.array(of_person)),
            "second_of_day": when % 86400,
            "past_item": lists(pa.array(item[flat])),
            "past_genres": lists(movie_genres.take(pa.array(np.asarray(of_movie)[flat]))),
            "past_stars": lists(pa.array(stars[flat].astype(np.int64))),
            "past_seconds": lists(pa.array(np.repeat(when, np.diff(offsets)) - when[flat])),
        }
    )
    cuts = np.searchsorted(when, [when[int(user.size * share)] for share in np.cumsum(SHARES[:-1])])
    folder.mkdir(parents=True, exist_ok=True)
    for name, begin, end in zip(PARTS, [0, *cuts], [*cuts, user.size], strict=True):
        pa.parquet.write_table(table.slice(begin, end - begin), folder / f"{name}.parquet", row_group_size=10_000)


def _read(path: Path) -> dict[str, Any]:
    table = pa.csv.read_csv(path, parse_options=pa.csv.ParseOptions(delimiter="\t", quote_char=False))
    return {name.partition(":")[0]: table[name].to_numpy() for name in table.column_names}


def features() -> list[Feature]:
    return [
        Feature("item").select("item"),
        Feature("genres").select("genres").hash("farm"),
        Feature("year").select("year").bucketize([1950, 1970, 1980, 1990, 1993, 1995, 1996, 1997, 1998]),
        Feature("age").select("age").bucketize([18, 25, 35, 45, 50, 56]),
        Feature("gender").select("gender").hash("farm"),
        Feature("occupation").select("occupation").hash("farm"),
        Feature("hour").select("second_of_day").bucketize([k * HOUR for k in range(1, 24)]),
        Feature("past_item").select("past_item"),
        Feature("past_genres").select("past_genres").hash("farm"),
        Feature("past_stars").select("past_stars"),
        Feature("past_recency").select("past_seconds").bucketize([MINUTE, 10 * MINUTE, HOUR, DAY, 7 * DAY, 30 * DAY]),
    ]
