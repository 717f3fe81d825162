"""DeepFM on Criteo click rows: read ORC, train, evaluate, save.

python examples/criteo_deepfm.py [FOLDER OF part-*.orc] [RUN FOLDER]
"""

import sys
from pathlib import Path
from typing import Any

import torch

from sparrow import knobs
from sparrow.features import Feature
from sparrow.io import Dataset
from sparrow.models import DeepFM
from sparrow.optim import CombinedOptimizer, SparseOptimizer
from sparrow.pipelines import Trainer, seed_everything

NUMBERS = [f"i{k}" for k in range(1, 14)]
CATEGORIES = [f"c{k}" for k in range(1, 27)]
FEATURES = [
    *[Feature(name).select(name).fill(0.0).log1p() for name in NUMBERS],
    *[Feature(name).select(name) for name in CATEGORIES],
]


def train_and_evaluate(
    train_files: list[str], test_files: list[str], *, seed: int = 1, epochs: int = 2, run_folder: str | None = None, progress: bool = True
) -> dict[str, Any]:
    seed_everything(seed)
    model = DeepFM(FEATURES, dense=NUMBERS, sparse=CATEGORIES, dim=16, hidden=(256, 128, 64), seed=seed)
    optimizer = CombinedOptimizer(torch.optim.Adam(model.parameters(), lr=1e-3), SparseOptimizer(model, lr=1e-3))

    columns = ["label", *model.columns]
    train = Dataset(train_files, columns, batch_size=1024)
    test = Dataset(test_files, columns, batch_size=4096)

    trainer = Trainer(model, optimizer, label="label", run_folder=run_folder, seed=seed, progress=progress)
    return trainer.fit(train, epochs=epochs, evaluate_on=test)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else knobs.data_folder() / "criteo_orc"
    run_folder = sys.argv[2] if len(sys.argv) > 2 else "runs/criteo_deepfm"
    files = sorted(map(str, folder.glob("part-*.orc")))
    summary = train_and_evaluate(files[:-1], files[-1:], run_folder=run_folder)
    print(f"AUC {summary['eval']['auc']:.4f}  log loss {summary['eval']['log_loss']:.4f}  {summary['samples_per_second']:,.0f} samples/s")


if __name__ == "__main__":
    main()
