"""Features of a configured run whose parameters come from its training data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sparrow.features import Feature, Fitting
from sparrow.features.plan_file import save
from sparrow.io import Dataset
from sparrow.pipelines.run_config import RunConfig


def fit_features(config: RunConfig, out: Path, progress: Callable[[int], None] | None = None) -> list[tuple[Feature, Feature]]:
    """Learn what the features of `config` take from `data.train`, and write them to `out`; returns (before, after) of those that changed.

    progress: called with the rows read so far. Only the columns that are learned from are read: once, and once more for each depth where a
    learned transform reads another's result. Raises `ConfigError` naming the feature, `DataError` naming file, column and row.
    """
    before = config.build_features()
    features = before
    num_rows = 0
    while (fitting := Fitting(features)).is_needed:
        data = config.data
        dataset = Dataset(
            data.train, fitting.columns, batch_size=8192, prefetch=data.prefetch, num_threads=data.num_threads, format=data.format,
            on_error=data.on_error,
        )  # fmt: skip
        for batch in dataset:
            fitting.update(batch)
            num_rows += batch.num_samples
            if progress is not None:
                progress(num_rows)
        features = fitting.features()
    save(features, out)
    return [(old, new) for old, new in zip(before, features, strict=True) if old != new]
