"""A configured run, from end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from sparrow.errors import CheckpointError, ConfigError
from sparrow.pipelines import snapshot
from sparrow.pipelines.run_config import RunConfig, load_run_config
from sparrow.pipelines.run_folder import RunFolder
from sparrow.pipelines.trainer import Trainer
from sparrow.saver import Saver


def train_run(config: RunConfig, *, resume: bool = False, progress: bool = True) -> dict[str, Any]:
    """Train what `config` says, write its run folder and return the summary."""
    if config.run.threads is not None:
        torch.set_num_threads(config.run.threads)
    model = config.build_model()
    optimizer = config.build_optimizer(model)
    train = config.build_dataset(config.data.train, model, config.data.batch_size)
    test = None if config.data.eval is None else config.build_dataset(config.data.eval, model, config.data.eval_batch_size)
    RunFolder(config.run.folder, resume=resume).write_config(config.to_yaml())
    trainer = Trainer(model, optimizer, config.trainer_options(progress=progress))
    return trainer.fit(train, epochs=config.run.epochs, max_steps=config.run.max_steps, evaluate_on=test, resume=resume)


def evaluate_run(path: str | Path, data: list[str] | None = None, *, progress: bool = True) -> dict[str, Any]:
    """Evaluate a run folder's newest checkpoint, or one checkpoint inside it, on `data` or the run's own eval files; return the metrics."""
    folder, checkpoint = _find(Path(path))
    config = load_run_config(folder / "config.yaml")
    paths = data or config.data.eval
    if paths is None:
        raise ConfigError(f"{folder / 'config.yaml'} names no data.eval; give files by --data")
    model = config.build_model()
    dataset = config.build_dataset(paths, model, config.data.eval_batch_size)
    snapshot.load_model(Saver(checkpoint.parent), checkpoint, model)
    options = config.model_copy(update={"run": config.run}).trainer_options(progress=progress)
    trainer = Trainer(model, config.build_optimizer(model), options)
    return {"checkpoint": str(checkpoint), **trainer.evaluate(dataset)}


def _find(path: Path) -> tuple[Path, Path]:
    """Return (run folder, checkpoint) of a run folder or of a checkpoint inside one."""
    if not path.exists():
        raise CheckpointError(f"{path} does not exist; give a run folder or a checkpoint inside one")
    if (path / "manifest.json").exists():
        folder = path.parent.parent
        checkpoint: Path | None = path
    else:
        folder, checkpoint = path, Saver(path / "checkpoints").latest()
    if checkpoint is None:
        raise CheckpointError(f"{path} holds no checkpoint; give a run folder that `sparrow train` wrote")
    if not (folder / "config.yaml").exists():
        raise CheckpointError(
            f"{folder} has no config.yaml, so the model is unknown; evaluate runs of `sparrow train`, or load the checkpoint from Python"
        )
    return folder, checkpoint
