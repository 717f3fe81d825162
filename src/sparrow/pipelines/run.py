"""A configured run, from end to end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sparrow.errors import CheckpointError, ConfigError
from sparrow.pipelines import snapshot
from sparrow.pipelines.evaluation import evaluate_model
from sparrow.pipelines.load_config import load_run_config, refuse_changes
from sparrow.pipelines.run_config import RunConfig
from sparrow.pipelines.run_folder import FEATURES_FILE, holds_run
from sparrow.pipelines.trainer import Trainer
from sparrow.pipelines.yaml_text import parse_yaml
from sparrow.saver import Saver


def train_run(config: RunConfig, *, resume: bool = False, progress: bool = True) -> dict[str, Any]:
    """Train what `config` says, write its run folder and return the summary.

    A resumed run may change how long it runs, what it logs and where its files are; `ConfigError` names any other change, and a folder
    where no run began: most likely its name is mistyped.
    """
    folder = Path(config.run.folder)
    recorded = folder / "config.yaml"
    if resume and not holds_run(folder):
        found = "holds no run" if folder.exists() else "does not exist"
        raise ConfigError(f"run.folder {folder} {found}, so there is nothing to resume; correct it, or begin a new run without --resume")
    if resume and recorded.exists() and Saver(folder / "checkpoints").latest() is not None:
        refuse_changes(_with_features_of(config, _recorded_config(folder, _places_of(config)), folder), config, recorded)
    if config.run.threads is not None:
        torch.set_num_threads(config.run.threads)
    model = config.build_model()
    optimizer = config.build_optimizer(model)
    train = config.build_dataset(config.data.train, model, config.data.batch_size, training=True)
    test = None if config.data.eval is None else config.build_dataset(config.data.eval, model, config.data.eval_batch_size)
    trainer = Trainer(model, optimizer, config.trainer_options(progress=progress))
    return trainer.fit(train, epochs=config.run.epochs, max_steps=config.run.max_steps, evaluate_on=test, resume=resume)


def evaluate_run(path: str | Path, files: list[str] | None = None, overrides: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the metrics of a run folder's newest checkpoint, or of one checkpoint inside it, on `files` or the run's own eval files.

    overrides: as those of `load_run_config`, of keys that a resumed run may change: the device to evaluate on, the column of users.
    """
    folder, checkpoint = _find(Path(path))
    # An evaluation captures nothing, so it may go where a captured run could not.
    config = _recorded_config(folder, {"run.capture": "false", **(overrides or {})})
    if overrides:
        refuse_changes(_recorded_config(folder, _places_of(config)), config, folder / "config.yaml", evaluating=True)
    paths = files or config.data.eval
    if paths is None:
        raise ConfigError(f"{folder / 'config.yaml'} names no data.eval; give files by --data")
    if config.run.threads is not None:
        torch.set_num_threads(config.run.threads)
    model = config.build_model()
    dataset = config.build_dataset(paths, model, config.data.eval_batch_size)
    snapshot.load_model(Saver(checkpoint.parent), checkpoint, model)
    return {"checkpoint": str(checkpoint), **(evaluate_model(model, dataset, config.data.label, group=config.data.group) or {})}


def _recorded_config(folder: Path, overrides: Mapping[str, str] | None = None) -> RunConfig:
    """Return the configuration a run was begun with; features that came from a file are those of the run's own copy."""
    recorded, features = folder / "config.yaml", folder / FEATURES_FILE
    content = parse_yaml(recorded.read_text(encoding="utf-8"), str(recorded))
    came_from_a_file = isinstance(content, dict) and isinstance(content.get("features"), str)
    own = {"features": json.dumps(str(features))} if came_from_a_file and features.exists() else {}
    return load_run_config(recorded, {**own, **(overrides or {})})


def _places_of(config: RunConfig) -> dict[str, str]:
    """Return overrides that say where `config` runs: the machine a run was begun on may have had what this one has not."""
    run = config.run
    return {"run.device": run.device, "run.table_device": json.dumps(run.table_device), "run.capture": json.dumps(run.capture)}


def _with_features_of(config: RunConfig, recorded: RunConfig, folder: Path) -> RunConfig:
    """Return `recorded` with the name that `config` gives the same features. Raises `ConfigError` where they are others."""
    if not isinstance(config.features, str) or not isinstance(recorded.features, str):
        return recorded
    if recorded.build_features() != config.build_features():
        raise ConfigError(
            f"{config.features}: its features are not those of the run to resume, which are in {folder / FEATURES_FILE}; give these"
        )
    return recorded.model_copy(update={"features": config.features})


def newest_checkpoint(path: Path) -> Path:
    """Return `path` itself where it is a checkpoint, or the newest checkpoint of the run folder `path`."""
    if not path.exists():
        raise CheckpointError(f"{path} does not exist; give a run folder or a checkpoint inside one")
    if (path / "manifest.json").exists():
        return path
    newest = Saver(path / "checkpoints").latest()
    if newest is None:
        raise CheckpointError(f"{path} holds no checkpoint; give a run folder that training wrote, or a checkpoint inside one")
    return newest


def _find(path: Path) -> tuple[Path, Path]:
    """Return (run folder, checkpoint) of a run folder or of a checkpoint inside one."""
    checkpoint = newest_checkpoint(path)
    # Of the absolute path: one given from inside the folder may name no parents.
    folder = path if checkpoint != path else path.absolute().parents[1]
    if not (folder / "config.yaml").exists():
        raise CheckpointError(
            f"{folder} has no config.yaml, so the model is unknown; evaluate runs of `sparrow train`, or load the checkpoint from Python"
        )
    return folder, checkpoint
