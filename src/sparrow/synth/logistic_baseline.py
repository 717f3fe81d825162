"""The linear model a click model must beat: logistic regression on every id one-hot and every numeric, its L2 chosen on held-out rows."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sparrow.errors import ConfigError, DataError
from sparrow.io import OrcDataset
from sparrow.metrics import AUC
from sparrow.types import Column, ColumnSpec, Ragged

_READ_ROWS = 65_536
_MAX_ITERATIONS = 200
# scikit-learn stops where no entry of the gradient of the mean loss exceeds this. At 1e-4 the AUC is settled to the fourth digit.
_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineReport:
    """How well the best logistic regression does.

    eval_auc:      AUC on the evaluation rows of the fit on all training rows with `best_c`.
    best_c:        inverse L2 strength (scikit-learn's C, against the summed loss) with the best held-out AUC.
    held_out_aucs: C -> AUC on the held-out training rows, in the order tried.
    iterations:    iterations of L-BFGS of the last fit; converged: whether every fit met its tolerance.
    num_ids:       one-hot columns, that is different ids seen in training. seconds: wall time, reading included.
    """

    eval_auc: float
    best_c: float
    held_out_aucs: dict[float, float]
    iterations: int
    converged: bool
    num_ids: int
    seconds: float


def logistic_baseline(
    train: Any,
    evaluation: Any,
    *,
    numerics: Sequence[str],
    ids: Sequence[str],
    label: str = "label",
    grid: Sequence[float] = (0.01, 0.03, 0.1),
    held_out: float = 0.2,
) -> BaselineReport:
    """Return how well logistic regression does: chosen and fitted on `train`, measured on `evaluation`, which nothing else looks at.

    Args:
        train, evaluation: ORC files as `OrcDataset` takes them.
        numerics: columns that enter as standardised log1p, 0 where missing, with an indicator of missing.
        ids: columns of int64 or string lists, one-hot over the values seen in training; a value occurring twice in a row counts twice.
        label: column of 0 and 1.
        grid: values of C to try, each from the coefficients of the one before; order them rising.
        held_out: share of the training rows, the last ones, that chooses C. The winner is refitted on all training rows.

    Memory: 8 bytes for each non-zero, about 350 bytes a row of the Criteo shape, twice. Raises `ConfigError` without scikit-learn.
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise ConfigError("the logistic baseline needs scikit-learn; install it: pip install 'scikit-learn>=1.4'") from error
    if not grid or any(c <= 0 for c in grid) or not 0 < held_out < 1:
        raise ConfigError(f"logistic baseline: grid {list(grid)} must be values above 0, held_out {held_out} a share between 0 and 1")
    start = time.perf_counter()
    encoder = _Encoder(tuple(numerics), tuple(ids), label)
    matrix, labels = encoder.fit(train)
    num_kept = len(labels) - max(1, round(len(labels) * held_out))
    aucs: dict[float, float] = {}
    converged = True
    model = LogisticRegression(tol=_TOLERANCE, max_iter=_MAX_ITERATIONS, warm_start=True)
    for c in grid:
        converged &= _fit(model.set_params(C=c), matrix[:num_kept], labels[:num_kept])
        aucs[c] = _auc(model, matrix[num_kept:], labels[num_kept:])
    best_c = max(aucs, key=lambda c: aucs[c])
    converged &= _fit(model.set_params(C=best_c), matrix, labels)
    return BaselineReport(
        eval_auc=_auc(model, *encoder.transform(evaluation)),
        best_c=best_c,
        held_out_aucs=aucs,
        iterations=int(model.n_iter_[0]),
        converged=converged,
        num_ids=encoder.num_ids,
        seconds=time.perf_counter() - start,
    )


def _fit(model: Any, matrix: Any, labels: Any) -> bool:
    if len(np.unique(labels)) < 2:
        raise DataError(f"logistic baseline: the {len(labels)} training rows hold one label only; it needs clicks and others")
    with warnings.catch_warnings():
        # Not converging is reported, not warned of.
        warnings.simplefilter("ignore")
        model.fit(matrix, labels)
    return int(model.n_iter_[0]) < _MAX_ITERATIONS


def _auc(model: Any, matrix: Any, labels: Any) -> float:
    auc = AUC()
    scores = model.predict_proba(matrix)[:, 1]
    auc.update(torch.from_numpy(np.ascontiguousarray(scores)), torch.from_numpy(labels))
    return auc.compute()


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """Columns of all rows: labels [rows], numerics [rows, columns] with NaN where missing, keys end to end, and keys a row."""

    labels: Any
    numerics: Any
    keys: dict[str, Any]
    lengths: dict[str, Any]


class _Encoder:
    """ORC rows to a CSR matrix: the one-hot ids column by column, then the numerics, then their indicators of missing."""

    def __init__(self, numerics: tuple[str, ...], ids: tuple[str, ...], label: str) -> None:
        self._numerics, self._ids, self._label = numerics, ids, label
        self._vocabularies: dict[str, Any] = {}
        self._means, self._deviations = np.zeros(len(numerics)), np.ones(len(numerics))

    @property
    def num_ids(self) -> int:
        return sum(len(vocabulary) for vocabulary in self._vocabularies.values())

    def fit(self, paths: Any) -> tuple[Any, Any]:
        rows = self._read(paths)
        for name in self._ids:
            self._vocabularies[name] = np.unique(rows.keys[name])
        logs = np.log1p(rows.numerics)
        present = ~np.isnan(logs)
        counts = np.maximum(present.sum(axis=0), 1)
        self._means = np.where(present, logs, 0).sum(axis=0) / counts
        deviations = np.sqrt(np.where(present, (logs - self._means) ** 2, 0).sum(axis=0) / counts)
        self._deviations = np.where(deviations > 0, deviations, 1.0)
        return self._encode(rows), rows.labels

    def transform(self, paths: Any) -> tuple[Any, Any]:
        rows = self._read(paths)
        return self._encode(rows), rows.labels

    def _read(self, paths: Any) -> _Table:
        specs = [
            ColumnSpec(self._label, kind="dense"),
            *(ColumnSpec(name, kind="dense", default=float("nan")) for name in self._numerics),
            *map(ColumnSpec, self._ids),
        ]
        batches = list(OrcDataset(paths, specs, batch_size=_READ_ROWS, prefetch=0))
        keys, lengths = {}, {}
        for name in self._ids:
            parts = [_keys(batch[name]) for batch in batches]
            keys[name] = np.concatenate([part[0] for part in parts])
            lengths[name] = np.concatenate([part[1] for part in parts])
        numerics = np.concatenate([np.stack([_dense(batch[name]) for name in self._numerics], axis=1) for batch in batches])
        return _Table(np.concatenate([_dense(batch[self._label]) for batch in batches]), numerics, keys, lengths)

    def _encode(self, rows: _Table) -> Any:
        from scipy import sparse

        num_rows = len(rows.labels)
        entries = list(self._entries(rows))
        indptr = np.zeros(num_rows + 1, np.int64)
        np.cumsum(sum(lengths for lengths, _, _ in entries), out=indptr[1:])
        indices = np.empty(indptr[-1], np.int32)
        values = np.empty(indptr[-1], np.float64)
        cursor = indptr[:-1].copy()
        for lengths, columns, weights in entries:
            begins = np.cumsum(lengths) - lengths
            places = np.arange(len(columns)) + np.repeat(cursor - begins, lengths)
            indices[places], values[places] = columns, weights
            cursor += lengths
        return sparse.csr_matrix((values, indices, indptr), shape=(num_rows, self.num_ids + 2 * len(self._numerics)))

    def _entries(self, rows: _Table) -> Iterator[tuple[Any, Any, Any]]:
        """Yield (entries a row [rows], their columns [n], their values [n]) of each column read."""
        first_column = 0
        for name in self._ids:
            vocabulary, keys, lengths = self._vocabularies[name], rows.keys[name], rows.lengths[name]
            codes = np.minimum(np.searchsorted(vocabulary, keys), max(len(vocabulary) - 1, 0))
            known = vocabulary[codes] == keys if len(vocabulary) else np.zeros(len(keys), bool)
            places = np.repeat(np.arange(len(lengths)), lengths)
            yield np.bincount(places[known], minlength=len(lengths)), codes[known] + first_column, 1.0
            first_column += len(vocabulary)
        for number in range(len(self._numerics)):
            standard = (np.log1p(rows.numerics[:, number]) - self._means[number]) / self._deviations[number]
            missing = np.isnan(standard)
            columns = np.where(missing, len(self._numerics), 0) + number + first_column
            yield np.ones(len(missing), np.int64), columns, np.where(missing, 1.0, standard)


def _dense(column: Column) -> Any:
    assert not isinstance(column, Ragged)
    return column.numpy()


def _keys(column: Column) -> tuple[Any, Any]:
    """Return the values of all rows end to end, and how many each row has. A string becomes its length and bytes, padded to the longest."""
    if not isinstance(column, Ragged):
        return column.numpy(), np.ones(len(column), np.int64)
    if not column.is_bytes:
        return column.values.numpy(), column.lengths().numpy()
    offsets = column.offsets[-1].numpy()
    sizes = np.diff(offsets)
    longest = int(sizes.max(initial=0))
    letters = np.zeros((len(sizes), 4 + longest), np.uint8)
    letters[:, :4] = sizes.astype(">u4").view(np.uint8).reshape(-1, 4)
    letters[:, 4:][np.arange(longest) < sizes[:, None]] = column.values.numpy()
    lengths = column.lengths().numpy() if len(column.offsets) > 1 else np.ones(len(sizes), np.int64)
    return letters.view(f"S{4 + longest}").reshape(-1), lengths
