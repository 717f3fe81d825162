"""A run as plain data: what `run.yaml` may say, typed, and what it builds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn

from sparrow.errors import ConfigError, did_you_mean
from sparrow.features import Feature, expand_names, features_from_config
from sparrow.io import OrcDataset
from sparrow.models import DeepFM, LogisticRegression
from sparrow.optim import RULES, CombinedOptimizer, SparseOptimizer
from sparrow.pipelines.options import TrainerOptions
from sparrow.pipelines.seeding import seed_everything
from sparrow.tables import initializer_from_config
from sparrow.types import ColumnSpec


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class DeepFMConfig(_Section):
    """`sparrow.models.DeepFM`."""

    name: Literal["deepfm"]
    dense: list[str] = []
    sparse: list[str]
    dim: int = Field(16, ge=1)
    hidden: list[int] = [256, 128, 64]
    dropout: float = Field(0.0, ge=0, lt=1)
    combiner: str = "sum"
    initializer: str | dict[str, dict[str, float]] = {"normal": {"std": 0.01}}


class LogisticRegressionConfig(_Section):
    """`sparrow.models.LogisticRegression`."""

    name: Literal["logistic_regression"]
    dense: list[str] = []
    sparse: list[str]
    combiner: str = "sum"


class DataConfig(_Section):
    """What is read. Relative paths are relative to the current folder."""

    train: str | list[str]
    eval: str | list[str] | None = None
    label: str = "label"
    batch_size: int = Field(1024, ge=1)
    eval_batch_size: int = Field(4096, ge=1)
    prefetch: int = Field(2, ge=0)


class DenseOptimizerConfig(_Section):
    """The torch optimizer of the dense half."""

    name: Literal["adam", "adamw", "sgd", "adagrad"] = "adam"
    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)


class SparseOptimizerConfig(_Section):
    """The update rule of the tables."""

    rule: str = "adam"
    lr: float = Field(1e-3, gt=0)
    hyper: dict[str, float] = {}


class OptimizerConfig(_Section):
    """Both halves."""

    dense: DenseOptimizerConfig = DenseOptimizerConfig()
    sparse: SparseOptimizerConfig = SparseOptimizerConfig()


class RunSettings(_Section):
    """How long, how seeded, where to."""

    folder: str
    epochs: int = Field(1, ge=1)
    max_steps: int | None = Field(None, ge=1)
    seed: int = 1
    threads: int | None = Field(None, ge=1)
    save_every: int | None = Field(None, ge=1)
    keep: int = Field(3, ge=1)
    log_every: int = Field(50, ge=1)
    max_grad_norm: float | None = Field(None, gt=0)


class RunConfig(_Section):
    """Everything `sparrow train` needs."""

    model: DeepFMConfig | LogisticRegressionConfig = Field(discriminator="name")
    features: list[dict[str, Any]]
    data: DataConfig
    optimizer: OptimizerConfig = OptimizerConfig()
    run: RunSettings

    def build_features(self) -> list[Feature]:
        """Return the declared features. Raises `ConfigError` naming the entry."""
        return [feature for index, entry in enumerate(self.features) for feature in features_from_config(entry, f"features[{index}]")]

    def build_model(self) -> DeepFM | LogisticRegression:
        """Seed everything, then build the model: the same order, so the same first weights, as a script."""
        seed_everything(self.run.seed)
        features = self.build_features()
        model = self.model
        inputs: dict[str, Any] = {
            "dense": [name for pattern in model.dense for name in expand_names(pattern)],
            "sparse": [name for pattern in model.sparse for name in expand_names(pattern)],
            "combiner": model.combiner,
            "rule": self.optimizer.sparse.rule,
            "seed": self.run.seed,
        }
        if isinstance(model, LogisticRegressionConfig):
            return LogisticRegression(features, **inputs)
        initializer = initializer_from_config(model.initializer)
        return DeepFM(features, dim=model.dim, hidden=model.hidden, dropout=model.dropout, initializer=initializer, **inputs)

    def build_optimizer(self, model: nn.Module) -> CombinedOptimizer:
        dense, sparse = self.optimizer.dense, self.optimizer.sparse
        if sparse.rule not in RULES:
            raise ConfigError(f"optimizer.sparse.rule: unknown rule {sparse.rule!r}{did_you_mean(sparse.rule, RULES)}")
        kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD, "adagrad": torch.optim.Adagrad}
        halves = kinds[dense.name](model.parameters(), lr=dense.lr, weight_decay=dense.weight_decay)
        return CombinedOptimizer(halves, SparseOptimizer(model, lr=sparse.lr, **sparse.hyper))

    def build_dataset(self, paths: str | list[str], model: DeepFM | LogisticRegression, batch_size: int) -> OrcDataset:
        columns: list[str | ColumnSpec] = [self.data.label, *model.columns]
        return OrcDataset(paths, columns, batch_size=batch_size, prefetch=self.data.prefetch)

    def trainer_options(self, *, progress: bool = True) -> TrainerOptions:
        run = self.run
        return TrainerOptions(
            label=self.data.label, run_folder=run.folder, seed=run.seed, save_every=run.save_every, keep=run.keep, log_every=run.log_every,
            progress=progress, max_grad_norm=run.max_grad_norm,
        )  # fmt: skip

    def to_yaml(self) -> str:
        """Return the resolved configuration; loading it gives an equal one."""
        return yaml.safe_dump(self.model_dump(), sort_keys=False)


def load_run_config(path: str | Path, overrides: Mapping[str, str] | None = None) -> RunConfig:
    """Return the configuration of a YAML file, changed by `overrides`: dotted path -> YAML text of the value.

    Raises `ConfigError` naming file, key path and the nearest valid name for an unknown key, an ill-typed value or a broken file.
    """
    try:
        text = Path(path).read_text()
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a text file ({error.reason}); expected YAML") from error
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold a mapping with the keys {sorted(RunConfig.model_fields)}, found {type(content).__name__}")
    for key, value in (overrides or {}).items():
        _override(content, key, value)
    try:
        return RunConfig.model_validate(content)
    except ValidationError as error:
        raise ConfigError(_explain(str(path), error)) from None


def parse_overrides(arguments: list[str]) -> dict[str, str]:
    """Return `key=value` arguments as a dict. Raises `ConfigError` for one without `=`."""
    pairs = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or not key:
            raise ConfigError(f"{argument!r} is not key=value, such as run.epochs=2")
        pairs[key] = value
    return pairs


def _override(content: dict[str, Any], key: str, text: str) -> None:
    *parents, last = key.split(".")
    place = content
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise ConfigError(f"{key}={text}: {parent} is not a section, so it has no {last}")
    try:
        place[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{key}={text}: the value is not valid YAML: {' '.join(str(error).split())}") from error


def _explain(path: str, error: ValidationError) -> str:
    """Return the first problem as one line: file, dotted key, what is wrong, nearest name."""
    problem = error.errors()[0]
    location = [str(part) for part in problem["loc"] if part not in ("deepfm", "logistic_regression")]
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        return f"{path}: unknown key {key}{did_you_mean(location[-1], _fields_beside(problem['loc']))}"
    if problem["type"] == "missing":
        return f"{path}: {key} is missing"
    if problem["type"].startswith("union_tag"):
        return f"{path}: {key}.name must be one of 'deepfm', 'logistic_regression', found {problem['input']!r}"
    return f"{path}: {key} is {problem['input']!r}: {problem['msg'][0].lower()}{problem['msg'][1:]}"


def _fields_beside(location: tuple[int | str, ...]) -> list[str]:
    """Return the valid keys of the section that holds the key at `location`."""
    models: dict[str, type[BaseModel]] = {"deepfm": DeepFMConfig, "logistic_regression": LogisticRegressionConfig}
    section: type[BaseModel] = RunConfig
    for part in location[:-1]:
        if part in models:
            section = models[str(part)]
        elif part in section.model_fields:
            annotation = section.model_fields[str(part)].annotation
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                section = annotation
    return list(section.model_fields)
