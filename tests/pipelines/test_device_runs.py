"""Models and configured runs on a device, beside the same on the CPU. `device_runs.py` says what is done."""

import pytest
import torch

from device_support import ON_GPU, run_on_device
from sparrow.errors import ConfigError
from sparrow.features import Feature
from sparrow.models import DIN, DeepFM, LogisticRegression


def run(scenario: str, *needed: str) -> None:
    run_on_device(f"from pipelines import device_runs; device_runs.{scenario}()", *needed)


@pytest.mark.gpu
def test_models_train_alike_wherever_their_halves_live() -> None:
    run("models_of_the_zoo_train_alike")


@pytest.mark.gpu
def test_configured_runs_are_those_of_the_cpu() -> None:
    run("configured_runs_are_those_of_the_cpu", "pyarrow", "pydantic", "safetensors", "yaml")


@pytest.mark.gpu
@pytest.mark.skipif(not ON_GPU, reason="only a GPU has a generator of its own")
def test_dropout_goes_on_where_it_was() -> None:
    run("dropout_goes_on_where_it_was", "pyarrow", "pydantic", "safetensors", "yaml")


@pytest.mark.parametrize("kind", [LogisticRegression, DeepFM, DIN])
def test_a_device_that_is_not_here_is_named(kind: type[torch.nn.Module]) -> None:
    more = {"sequences": [{"past": "a"}]} if kind is DIN else {}
    features = [Feature("a").select("a"), Feature("past").select("past")]
    with pytest.raises(ConfigError, match=r"^the model: device is 'gpu', expected 'cpu', 'cuda' or 'cuda:N'$"):
        kind(features, dense=[], sparse=["a"], device="gpu", **more)
    with pytest.raises(ConfigError, match=r"^the model's tables: device is 'cuda:99', and "):
        kind(features, dense=[], sparse=["a"], table_device="cuda:99", **more)
