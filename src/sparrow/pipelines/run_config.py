"""A run as plain data: what `run.yaml` may say, typed, and what it builds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, cast

import torch
from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from torch import nn

from sparrow.errors import ConfigError, did_you_mean
from sparrow.features import Feature, features_from_config
from sparrow.features.plan_file import as_text as features_as_text
from sparrow.features.plan_file import load as load_features
from sparrow.io import Dataset, Shuffle
from sparrow.ops.devices import device_here, send
from sparrow.optim import RULES, CombinedOptimizer, SparseOptimizer
from sparrow.pipelines.model_configs import MODELS, ModelSection, Section
from sparrow.pipelines.options import TrainerOptions
from sparrow.pipelines.seeding import seed_everything
from sparrow.pipelines.yaml_text import to_yaml
from sparrow.types import ColumnSpec

_DENSE_OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD, "adagrad": torch.optim.Adagrad}


def _rule(value: str) -> str:
    if value not in RULES:
        raise ConfigError(f"unknown rule {value!r}{did_you_mean(value, RULES)}")
    return value


# Before pydantic sees them: of a union it names a member, which is no key of the file.
def _paths(value: Any) -> Any:
    paths = value if isinstance(value, list) else [value]
    if not paths or not all(isinstance(path, str) and path for path in paths):
        raise ConfigError(f"is {value!r}, expected a file, a folder, a glob, or a list of these")
    return value


def _features(value: Any) -> Any:
    if not isinstance(value, list) and (not isinstance(value, str) or not value):
        raise ConfigError(f"is {value!r}, expected a list of features, or the file that `sparrow data fit` wrote")
    return value


def _device(value: Any) -> Any:
    if not isinstance(value, str):
        raise ConfigError(f"is {value!r}, expected 'cpu', 'cuda' or 'cuda:N'")
    device_here(value)
    return value


_Paths = Annotated[str | list[str], BeforeValidator(_paths)]
if TYPE_CHECKING:
    _AnyModel = ModelSection
else:
    _AnyModel = Annotated[Union[MODELS], Field(discriminator="name")]  # noqa: UP007 (of a tuple that grows)


class ShuffleConfig(Section):
    """The order of the training rows."""

    seed: int = Field(0, ge=0, lt=2**64)
    window_files: int = Field(64, ge=1)
    buffer_pieces: int = Field(8, ge=1)


class DataConfig(Section):
    """What is read. Relative paths are relative to the current folder."""

    train: _Paths
    eval: _Paths | None = None
    label: str = "label"
    group: str | None = Field(None, min_length=1)
    batch_size: int = Field(1024, ge=1)
    eval_batch_size: int = Field(4096, ge=1)
    prefetch: int = Field(2, ge=0)
    num_threads: int = Field(1, ge=1)
    format: str | None = None
    on_error: Literal["error", "skip"] = "error"
    shuffle: ShuffleConfig | None = None


class DenseOptimizerConfig(Section):
    """The torch optimizer of the dense half."""

    name: Literal["adam", "adamw", "sgd", "adagrad"] = "adam"
    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)


class SparseOptimizerConfig(Section):
    """The update rule of the tables. hyper: the rule's hyper-parameters other than lr."""

    rule: Annotated[str, AfterValidator(_rule)] = "adam"
    lr: float = Field(1e-3, gt=0)
    hyper: dict[str, float] = Field({})

    @model_validator(mode="after")
    def _hyper_is_of_the_rule(self) -> SparseOptimizerConfig:
        known = [name for name in RULES[self.rule].hyper if name != "lr"]
        for name in self.hyper:
            if name not in known:
                raise ConfigError(f"hyper.{name}: rule {self.rule!r} has no such hyper-parameter here{did_you_mean(name, known)}")
        RULES[self.rule].hyper_row(step=1, **self.hyper)
        return self


class OptimizerConfig(Section):
    """Both halves."""

    dense: DenseOptimizerConfig = DenseOptimizerConfig()
    sparse: SparseOptimizerConfig = SparseOptimizerConfig()


class RunSettings(Section):
    """How long, how seeded, where, how, and where to. table_device: of the tables and the batches; None is `device`."""

    folder: str = Field(min_length=1)
    epochs: int = Field(1, ge=1)
    max_steps: int | None = Field(None, ge=1)
    seed: int = Field(1, ge=0, lt=2**63)
    device: Annotated[str, BeforeValidator(_device)] = "cpu"
    table_device: Annotated[str | None, BeforeValidator(lambda value: value if value is None else _device(value))] = None
    threads: int | None = Field(None, ge=1, le=1024)  # far more end the process inside OpenMP
    save_every: int | None = Field(None, ge=1)
    keep: int = Field(3, ge=1)
    log_every: int = Field(50, ge=1)
    max_grad_norm: float | None = Field(None, gt=0)
    capture: bool = False


class RunConfig(Section):
    """Everything `sparrow train` needs."""

    model: _AnyModel
    features: Annotated[str | list[dict[str, Any]], BeforeValidator(_features)]
    data: DataConfig
    optimizer: OptimizerConfig = OptimizerConfig()
    run: RunSettings

    @model_validator(mode="after")
    def _model_reads_declared_features(self) -> RunConfig:
        names = [feature.name for feature in self.build_features()]
        for key, wanted in self.model.feature_names().items():
            for name in wanted:
                if name not in names:
                    raise ConfigError(f"model.{key}: {name!r} is not a declared feature{did_you_mean(name, names)}")
        return self

    @model_validator(mode="after")
    def _can_be_captured(self) -> RunConfig:
        run, dense = self.run, self.optimizer.dense.name
        if run.capture:
            for key in ("device", "table_device"):
                if getattr(run, key) == "cpu":
                    raise ConfigError(
                        f"run.capture is true and run.{key} is 'cpu': steps are captured on a GPU; give run.{key}=cuda or run.capture=false"
                    )
            if dense == "adagrad":
                raise ConfigError(
                    "run.capture is true and optimizer.dense.name 'adagrad', which reads numbers on the host as it steps; "
                    "expected adam, adamw or sgd, or run.capture=false"
                )
        return self

    def build_features(self) -> list[Feature]:
        """Return the declared features, or those of the file that is named. Raises `ConfigError` naming the entry or the file."""
        if isinstance(self.features, str):
            return load_features(Path(self.features))
        return [feature for index, entry in enumerate(self.features) for feature in features_from_config(entry, f"features[{index}]")]

    def build_model(self) -> nn.Module:
        """Seed everything, then build the model: the same order, so the same first weights, as a script."""
        seed_everything(self.run.seed)
        run = self.run
        places = {"device": run.device, "table_device": run.table_device}
        return self.model.build(self.build_features(), rule=self.optimizer.sparse.rule, seed=run.seed, **places)

    def build_optimizer(self, model: nn.Module) -> CombinedOptimizer:
        """Return the optimizers of both halves, as one."""
        dense, sparse = self.optimizer.dense, self.optimizer.sparse
        settings: dict[str, Any] = {"lr": dense.lr}
        if self.run.capture:
            # On the device, where a graph reads what schedules write.
            rate = send(torch.tensor(dense.lr), device_here(self.run.device))
            settings = {"lr": rate, "fused" if dense.name == "sgd" else "capturable": True}
        dense_half = _DENSE_OPTIMIZERS[dense.name](model.parameters(), weight_decay=dense.weight_decay, **settings)
        return CombinedOptimizer(dense_half, SparseOptimizer(model, lr=sparse.lr, **sparse.hyper))

    def build_dataset(self, paths: str | list[str], model: nn.Module, batch_size: int, *, training: bool = False) -> Dataset:
        """Return the batches of `paths`, of the columns that model and loss read, and those of an evaluation where it is not `training`.

        Raises `ConfigError` where the model reads the label.
        """
        data = self.data
        read = cast(list[ColumnSpec], model.columns)
        if any(column.name == self.data.label for column in read):
            raise ConfigError(f"data.label is {self.data.label!r}, a column the model's features read; name the column of labels")
        columns: list[str | ColumnSpec] = [self.data.label, *read]
        if not training and data.group is not None and all(column.name != data.group for column in read):
            columns.append(data.group)
        shuffle = Shuffle(**data.shuffle.model_dump()) if training and data.shuffle is not None else None
        return Dataset(
            paths, columns, batch_size=batch_size, prefetch=data.prefetch, num_threads=data.num_threads, format=data.format,
            on_error=data.on_error, shuffle=shuffle, device=self.run.table_device or self.run.device,
        )  # fmt: skip

    def trainer_options(self, *, progress: bool = True) -> TrainerOptions:
        """Return the trainer's settings; it leaves this configuration in the run folder."""
        run = self.run
        return TrainerOptions(
            label=self.data.label, group=self.data.group, run_folder=run.folder, seed=run.seed, save_every=run.save_every, keep=run.keep,
            log_every=run.log_every, progress=progress, max_grad_norm=run.max_grad_norm, capture=run.capture,
            config=self.to_yaml(), features=features_as_text(self.build_features()),
        )  # fmt: skip

    def to_yaml(self) -> str:
        """Return the resolved configuration; loading it gives an equal one."""
        return to_yaml(self.model_dump())
