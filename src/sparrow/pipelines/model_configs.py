"""The models that a YAML file can name: for each a section with its keys, which builds it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from torch import nn

from sparrow.embedding import COMBINERS
from sparrow.errors import ConfigError, did_you_mean
from sparrow.features import Feature, expand_names
from sparrow.models import DIN, DeepFM, LogisticRegression
from sparrow.models.din import ACTIVATIONS, POOLINGS
from sparrow.tables import initializer_from_config


class Section(BaseModel):
    """A part of the file: unknown keys and values of another type are refused, unmentioned ones take their default."""

    # Strict: a text where a number belongs, or a yes for a 1, is a mistake of the writer.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _combiner(value: str) -> str:
    if value not in COMBINERS:
        raise ConfigError(f"unknown combiner {value!r}{did_you_mean(value, COMBINERS)}")
    return value


# Before pydantic sees them: of a union it names a member, which is no key of the file.
def _initializer(value: Any) -> Any:
    arguments = next(iter(value.values()), None) if isinstance(value, dict) and len(value) == 1 else {} if isinstance(value, str) else None
    if not isinstance(arguments, dict) or not all(type(number) in (int, float) for number in arguments.values()):
        raise ConfigError(f"is {value!r}, expected one initializer, such as normal or {{normal: {{std: 0.01}}}}")
    initializer_from_config(value)
    return value


def _sequences(value: Any) -> Any:
    is_right = isinstance(value, list) and all(
        isinstance(entry, dict) and entry and all(isinstance(k, str) and (v is None or isinstance(v, str)) for k, v in entry.items())
        for entry in value
    )
    if not is_right:
        raise ConfigError(f"is {value!r}, expected a list of {{feature of the history: feature of the target, or null}}")
    return value


def _one_of(known: Sequence[str]) -> BeforeValidator:
    def check(value: Any) -> Any:
        if value not in known:
            raise ConfigError(f"is {value!r}, expected one of {', '.join(known)}{did_you_mean(str(value), known)}")
        return value

    return BeforeValidator(check)


class ModelSection(Section):
    """What every model is told. A model's own section adds `name`, the `Literal` that chooses it, its keys, and `build`."""

    dense: list[str] = []
    sparse: list[str] = Field(min_length=1)
    combiner: Annotated[str, AfterValidator(_combiner)] = "sum"

    @abstractmethod
    def build(self, features: Sequence[Feature], **of_run: Any) -> nn.Module:
        """Return the model; it has `columns`, what a reader must read for it.

        of_run: what the run says of it, for its constructor: `rule` of its tables, `seed` of their first values, `device`, `table_device`.
        """

    def inputs(self) -> dict[str, Any]:
        """Return the keys of every model as its constructor takes them, patterns of names expanded."""
        names = {key: [name for pattern in getattr(self, key) for name in expand_names(pattern)] for key in ("dense", "sparse")}
        return {**names, "combiner": self.combiner}

    def feature_names(self) -> dict[str, list[str]]:
        """Return the features the model reads, by the path of the key below `model` that names them."""
        return {f"{key}[{index}]": expand_names(pattern) for key in ("dense", "sparse") for index, pattern in enumerate(getattr(self, key))}


class DeepFMConfig(ModelSection):
    """`sparrow.models.DeepFM`."""

    name: Literal["deepfm"]
    dim: int = Field(16, ge=1)
    hidden: list[Annotated[int, Field(ge=1)]] = [256, 128, 64]
    dropout: float = Field(0.0, ge=0, lt=1)
    initializer: Annotated[str | dict[str, dict[str, float]], BeforeValidator(_initializer)] = {"normal": {"std": 0.01}}

    def build(self, features: Sequence[Feature], **of_run: Any) -> DeepFM:
        initializer = initializer_from_config(self.initializer)
        own: dict[str, Any] = {"dim": self.dim, "hidden": self.hidden, "dropout": self.dropout, "initializer": initializer}
        return DeepFM(features, **self.inputs(), **own, **of_run)


class DINConfig(ModelSection):
    """`sparrow.models.DIN`."""

    name: Literal["din"]
    sequences: Annotated[list[dict[str, str | None]], BeforeValidator(_sequences)] = Field(min_length=1)
    dim: int = Field(16, ge=1)
    hidden: list[Annotated[int, Field(ge=1)]] = [200, 80]
    attention_hidden: list[Annotated[int, Field(ge=1)]] = Field([36], min_length=1)
    pooling: Annotated[str, _one_of(POOLINGS)] = "attention"
    activation: Annotated[str, _one_of(ACTIVATIONS)] = "dice"
    dropout: float = Field(0.0, ge=0, lt=1)
    initializer: Annotated[str | dict[str, dict[str, float]], BeforeValidator(_initializer)] = {"normal": {"std": 0.01}}

    def build(self, features: Sequence[Feature], **of_run: Any) -> DIN:
        own = self.model_dump(include={"sequences", "dim", "hidden", "attention_hidden", "pooling", "activation", "dropout"})
        return DIN(features, **self.inputs(), **own, initializer=initializer_from_config(self.initializer), **of_run)

    def feature_names(self) -> dict[str, list[str]]:
        return super().feature_names() | {f"sequences[{index}]": list(sequence) for index, sequence in enumerate(self.sequences)}


class LogisticRegressionConfig(ModelSection):
    """`sparrow.models.LogisticRegression`."""

    name: Literal["logistic_regression"]

    def build(self, features: Sequence[Feature], **of_run: Any) -> LogisticRegression:
        return LogisticRegression(features, **self.inputs(), **of_run)


# One row a model; everything else follows from it.
MODELS: tuple[type[ModelSection], ...] = (DeepFMConfig, DINConfig, LogisticRegressionConfig)


def model_sections() -> dict[str, type[ModelSection]]:
    """Return `model.name` -> its section."""
    return {get_args(section.model_fields["name"].annotation)[0]: section for section in MODELS}
