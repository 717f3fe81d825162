"""The DeepFM of `examples/criteo_deepfm.py` in plain PyTorch: nn.EmbeddingBag over exact vocabularies, pyarrow loops for reading.

Same network, features, batch order and optimizers. A vocabulary holds the ids of the training rows; an unseen id and a missing value
read zeros, as a row that does not exist does in Sparrow.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from pyarrow import orc
from torch import Tensor, nn

NUMBERS = [f"i{k}" for k in range(1, 14)]
CATEGORIES = [f"c{k}" for k in range(1, 27)]
DIM, HIDDEN, BATCH_SIZE, EVAL_BATCH_SIZE, LR = 16, (256, 128, 64), 1024, 4096, 1e-3

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Rows(NamedTuple):
    """numbers: [N, 13], log1p of what is positive, 0 where missing. ids: a (present, value) pair a category. labels: [N]."""

    numbers: Tensor
    ids: list[tuple[npt.NDArray[np.bool_], Ints]]
    labels: Tensor


def read(paths: list[str]) -> Rows:
    """Read all rows of the files, in order."""
    tables = [orc.ORCFile(path).read(columns=["label", *NUMBERS, *CATEGORIES]) for path in paths]

    def column(name: str) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64] | Ints]:
        present, values = [], []
        for table in tables:
            array = table.column(name).combine_chunks()
            offsets = array.offsets.to_numpy()
            flat = array.flatten().to_numpy(zero_copy_only=False)
            has = np.diff(offsets) > 0
            value = np.zeros(len(has), flat.dtype)
            value[has] = flat
            present.append(has)
            values.append(value)
        return np.concatenate(present), np.concatenate(values)

    numbers = np.stack([np.log1p(np.maximum(column(name)[1], 0)) for name in NUMBERS], 1)
    ids = [column(name) for name in CATEGORIES]
    return Rows(torch.from_numpy(numbers).float(), ids, torch.from_numpy(column("label")[1]).float())


def vocabularies(rows: Rows) -> list[Ints]:
    """Return the distinct ids of every category, sorted."""
    return [np.unique(values[present]) for present, values in rows.ids]


def indexed(rows: Rows, known: list[Ints]) -> Tensor:
    """Return the index of each id in its vocabulary, [N, 26]; the vocabulary's size where it is missing or unseen."""
    columns = []
    for (present, values), vocabulary in zip(rows.ids, known, strict=True):
        place = np.minimum(np.searchsorted(vocabulary, values), len(vocabulary) - 1)
        columns.append(np.where(present & (vocabulary[place] == values), place, len(vocabulary)))
    return torch.from_numpy(np.stack(columns, 1))


class PlainDeepFM(nn.Module):
    """One EmbeddingBag a category for vectors, one for linear weights; the last row of each is the zeros of "no row"."""

    def __init__(self, sizes: list[int]) -> None:
        super().__init__()
        self.vectors = nn.ModuleList(nn.EmbeddingBag(size + 1, DIM, mode="sum", sparse=True, padding_idx=size) for size in sizes)
        self.weights = nn.ModuleList(nn.EmbeddingBag(size + 1, 1, mode="sum", sparse=True, padding_idx=size) for size in sizes)
        for vectors, weights, size in zip(self.vectors, self.weights, sizes, strict=True):
            nn.init.normal_(vectors.weight, std=0.01)
            nn.init.zeros_(weights.weight)
            with torch.no_grad():
                vectors.weight[size].zero_()
        self.dense_vectors = nn.Parameter(torch.randn(len(NUMBERS), DIM) * 0.01)
        self.dense_weights = nn.Parameter(torch.zeros(len(NUMBERS)))
        self.bias = nn.Parameter(torch.zeros(()))
        widths = [len(CATEGORIES) * DIM + len(NUMBERS), *HIDDEN]
        layers = [module for a, b in zip(widths, HIDDEN, strict=False) for module in (nn.Linear(a, b), nn.ReLU())]
        self.mlp = nn.Sequential(*layers, nn.Linear(HIDDEN[-1], 1))

    def forward(self, ids: Tensor, x: Tensor) -> Tensor:
        columns = ids.unsqueeze(2).unbind(1)
        vectors = torch.stack([bag(column) for bag, column in zip(self.vectors, columns, strict=True)], 1)
        linear = torch.cat([bag(column) for bag, column in zip(self.weights, columns, strict=True)], 1).sum(1)
        z = torch.cat([vectors, x.unsqueeze(2) * self.dense_vectors], 1)
        fm = 0.5 * (z.sum(1).square() - z.square().sum(1)).sum(1)
        return self.bias + linear + x @ self.dense_weights + fm + self.mlp(torch.cat([vectors.flatten(1), x], 1)).squeeze(1)

    def sparse_parameters(self) -> list[nn.Parameter]:
        return [*self.vectors.parameters(), *self.weights.parameters()]

    def dense_parameters(self) -> list[nn.Parameter]:
        return [self.dense_vectors, self.dense_weights, self.bias, *self.mlp.parameters()]


def train_and_evaluate(train_files: list[str], test_files: list[str], seed: int = 1, epochs: int = 2) -> dict[str, float]:
    """Return AUC and log loss on the test files, and samples/s with reading and the building of vocabularies included."""
    from sklearn.metrics import log_loss, roc_auc_score

    torch.manual_seed(seed)
    began = time.perf_counter()
    rows = read(train_files)
    known = vocabularies(rows)
    ids = indexed(rows, known)
    model = PlainDeepFM([len(vocabulary) for vocabulary in known])
    dense = torch.optim.Adam(model.dense_parameters(), lr=LR)
    sparse = torch.optim.SparseAdam(model.sparse_parameters(), lr=LR)
    loss_of = nn.BCEWithLogitsLoss()
    for _ in range(epochs):
        for first in range(0, len(rows.labels), BATCH_SIZE):
            chosen = slice(first, first + BATCH_SIZE)
            loss = loss_of(model(ids[chosen], rows.numbers[chosen]), rows.labels[chosen])
            dense.zero_grad()
            sparse.zero_grad()
            loss.backward()
            dense.step()
            sparse.step()
    seconds = time.perf_counter() - began
    test = read(test_files)
    test_ids = indexed(test, known)
    with torch.no_grad():
        parts = [
            torch.sigmoid(model(test_ids[first : first + EVAL_BATCH_SIZE], test.numbers[first : first + EVAL_BATCH_SIZE]))
            for first in range(0, len(test.labels), EVAL_BATCH_SIZE)
        ]
    predicted = torch.cat(parts).double().numpy()
    labels = test.labels.numpy()
    return {
        "auc": float(roc_auc_score(labels, predicted)),
        "log_loss": float(log_loss(labels, predicted)),
        "samples_per_second": epochs * len(rows.labels) / seconds,
    }
