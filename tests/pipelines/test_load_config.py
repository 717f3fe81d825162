"""A configuration is typed: whatever is wrong is one line with the file, the key path and the nearest valid name."""

import copy
import datetime
import shlex
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipelines.clicks import config_for, write_config
from sparrow.errors import ConfigError
from sparrow.pipelines.load_config import load_run_config, parse_overrides
from sparrow.pipelines.yaml_text import parse_yaml, to_yaml
from tests_support import run_python

CONFIG = config_for("train", "eval", "run")
ROOT = Path(__file__).parents[2]


def load(tmp_path, config, **overrides):
    return load_run_config(write_config(tmp_path / "run.yaml", config), {key.replace("__", "."): value for key, value in overrides.items()})


def changed(path, value):
    """CONFIG with the key at a dotted path set."""
    config = copy.deepcopy(CONFIG)
    *parents, last = path.split(".")
    place = config
    for parent in parents:
        place = place[int(parent)] if isinstance(place, list) else place.setdefault(parent, {})
    place[last] = value
    return config


@pytest.mark.parametrize(
    "path, value, message",
    [
        ("run.epoch", 2, "unknown key run.epoch; did you mean 'epochs'?"),
        ("modle", {}, "unknown key modle; did you mean 'model'?"),
        ("model.hiden", [1], "unknown key model.hiden; did you mean 'hidden'?"),
        ("optimizer.dense.learning_rate", 1, "unknown key optimizer.dense.learning_rate; known: lr, name, weight_decay"),
        ("optimizer.spars", {}, "unknown key optimizer.spars; did you mean 'sparse'?"),
        ("features.1.nam", "x", "features[1].nam: unknown key; did you mean 'name'?"),
        ("features.0.transforms", ["log2p"], "features[0].transforms[0]: unknown transform 'log2p'; did you mean 'log1p'?"),
        ("features.0.transforms", [{"mod": 0}], "features[0].transforms[0].mod: "),
        ("features.0.select", "{a,b,c}", "features[0].select: 3 columns for 2 names"),
        ("model.name", "deepmf", "model.name is 'deepmf'; did you mean 'deepfm'?"),
        ("model.sparse", ["titel"], "model.sparse[0]: 'titel' is not a declared feature; did you mean 'title'?"),
        ("model.combiner", "som", "model.combiner: unknown combiner 'som'; did you mean 'sum'?"),
        ("model.initializer", {"norml": {}}, "model.initializer: unknown initializer 'norml'; did you mean 'normal'?"),
        ("model.initializer", {"normal": {"sdt": 0.1}}, "model.initializer: initializer 'normal': "),
        ("model.initializer", {"normal": {"std": "small"}}, "model.initializer is {'normal': {'std': 'small'}}, expected one initializer"),
        ("model.initializer", {"normal": 0.1}, "model.initializer is {'normal': 0.1}, expected one initializer"),
        ("model.initializer", {}, "model.initializer is {}, expected one initializer"),
        ("model.initializer", 0, "model.initializer is 0, expected one initializer"),
        ("model.hidden", [64, 0], "model.hidden[1] is 0: input should be greater than or equal to 1"),
        ("model.dim", "sixteen", "model.dim is 'sixteen': input should be a valid integer"),
        ("model.dim", True, "model.dim is True: input should be a valid integer"),
        ("model.dim", 16.0, "model.dim is 16.0: input should be a valid integer"),
        (
            "optimizer.dense.name",
            "adamm",
            "optimizer.dense.name is 'adamm': input should be 'adam', 'adamw', 'sgd' or 'adagrad'; did you mean",
        ),
        ("optimizer.dense.lr", -1.0, "optimizer.dense.lr is -1.0: input should be greater than 0"),
        ("optimizer.dense.lr", float("inf"), "optimizer.dense.lr is inf: input should be a finite number"),
        ("optimizer.sparse.rule", "adagard", "optimizer.sparse.rule: unknown rule 'adagard'; did you mean 'adagrad'?"),
        (
            "optimizer.sparse.hyper",
            {"epsi": 1.0},
            "optimizer.sparse.hyper.epsi: rule 'adam' has no such hyper-parameter here; did you mean 'eps'?",
        ),
        ("optimizer.sparse.hyper", {"beta1": 1.0}, "optimizer.sparse: rule 'adam': beta1 is 1.0, expected at least 0 and below 1"),
        ("optimizer.sparse.hyper", {"lr": 1.0}, "optimizer.sparse.hyper.lr: rule 'adam' has no such hyper-parameter here"),
        ("data.train", 5, "data.train is 5, expected a file, a folder, a glob, or a list of these"),
        ("data.train", [], "data.train is [], expected a file"),
        ("data.train", "", "data.train is '', expected a file"),
        ("data.eval", ["a.orc", None], "data.eval is ['a.orc', None], expected a file"),
        ("model.sparse", [], "model.sparse is []: list should have at least 1 item"),
        ("run.folder", "", "run.folder is '': string should have at least 1 character"),
        ("run.seed", -1, "run.seed is -1: input should be greater than or equal to 0"),
        ("run.seed", 2**63, "run.seed is 9223372036854775808: input should be less than"),
        ("run.device", "gpu", "run.device is 'gpu', expected 'cpu', 'cuda' or 'cuda:N'"),
        ("run.device", 0, "run.device is 0, expected 'cpu', 'cuda' or 'cuda:N'"),
        ("run.device", None, "run.device is None, expected 'cpu', 'cuda' or 'cuda:N'"),
        ("run.table_device", "cdua", "run.table_device is 'cdua', expected 'cpu', 'cuda' or 'cuda:N'"),
        (
            "run.capture",
            True,
            "run.capture is true and run.device is 'cpu': steps are captured on a GPU; give run.device=cuda or run.capture",
        ),
        ("run.capture", 1, "run.capture is 1: input should be a valid boolean"),
        ("run.threads", 10**8, "run.threads is 100000000: input should be less than or equal to 1024"),
        ("data.label", None, "data.label is None: input should be a valid string"),
        ("run.folder", False, "run.folder is False: input should be a valid string"),
        ("run", None, "run is None: input should be a valid dictionary"),
        ("features", "c1", "c1: cannot be read: No such file or directory"),
    ],
)
def test_a_mistake_is_named_by_file_key_and_nearest_name(tmp_path, path, value, message):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, changed(path, value))
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / 'run.yaml'}: {message}")
    assert "\n" not in text


def test_a_device_that_is_not_here_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"run\.yaml: run\.table_device is 'cuda', and torch finds no CUDA device here; use 'cpu'$"):
        load(tmp_path, changed("run.table_device", "cuda"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    expected = r"run\.yaml with run\.device=cuda:2: run\.device is 'cuda:2', and there are 2 CUDA devices here, from cuda:0 on$"
    with pytest.raises(ConfigError, match=expected):
        load(tmp_path, CONFIG, run__device="cuda:2")
    assert load(tmp_path, CONFIG, run__device="cuda:1").run.device == "cuda:1"


def test_what_cannot_be_captured_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    content = changed("run.capture", True)
    with pytest.raises(
        ConfigError, match=r"run\.yaml: run\.capture is true and run\.table_device is 'cpu': .*; give run\.table_device=cuda or"
    ):
        load(tmp_path, content, run__device="cuda:0", run__table_device="cpu")
    with pytest.raises(ConfigError, match=r"run\.capture is true and optimizer\.dense\.name 'adagrad', .*; expected adam, adamw or sgd"):
        load(tmp_path, content, run__device="cuda:0", optimizer__dense__name="adagrad")
    assert load(tmp_path, content, run__device="cuda:0").trainer_options().capture


DIN = {"name": "din", "sparse": ["c1", "title"], "sequences": [{"c2": "c1"}]}


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("sequences", [], "model.sequences is []: list should have at least 1 item"),
        ("sequences", {"c2": "c1"}, "model.sequences is {'c2': 'c1'}, expected a list of {feature of the history: feature of the target"),
        ("sequences", [{}], "model.sequences is [{}], expected a list"),
        ("sequences", [{"c2": 1}], "model.sequences is [{'c2': 1}], expected a list"),
        ("sequences", [{"c2": "c1"}, {"c3": None}], "model.sequences[1]: 'c3' is not a declared feature"),
        ("pooling", "soft", "model.pooling is 'soft', expected one of attention, softmax, sum, mean; did you mean 'softmax'?"),
        ("activation", "relu", "model.activation is 'relu', expected one of dice, prelu"),
        ("attention_hidden", [], "model.attention_hidden is []: list should have at least 1 item"),
    ],
)
def test_a_mistake_about_din_is_named(tmp_path, key, value, message):
    load(tmp_path, {**CONFIG, "model": DIN})
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, {**CONFIG, "model": {**DIN, key: value}})
    assert str(caught.value).startswith(f"{tmp_path / 'run.yaml'}: {message}")


@pytest.mark.parametrize(
    "path, value, hint",
    [
        ("run.folder", 2024, """input should be a valid string; to YAML that is of type int, so quote it: "2024\""""),
        ("run.folder", datetime.date(2024, 5, 6), """to YAML that is of type date, so quote it: "2024-05-06\""""),
        ("data.train", 2024, """or a list of these; to YAML that is of type int, so quote it: "2024\""""),
        ("features", 2024, "expected a list of features, or the file that `sparrow data fit` wrote"),
        ("model.initializer", 0, "expected one initializer, such as normal or {normal: {std: 0.01}}"),
    ],
)
def test_a_text_that_yaml_reads_as_something_else_is_to_be_quoted(tmp_path, path, value, hint):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, changed(path, value))
    assert str(caught.value).endswith(hint)


@pytest.mark.parametrize("path, text", [("run.folder", "2024"), ("run.folder", "no"), ("run.folder", "1e3"), ("data.train", "2024")])
def test_a_change_that_yaml_reads_as_something_else_is_to_be_quoted(tmp_path, path, text):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, CONFIG, **{path.replace(".", "__"): text})
    shown = str(caught.value).partition("so quote it: ")[2]
    # What the shell makes of the argument that is shown gives what was meant.
    ((key, value),) = parse_overrides(shlex.split(shown)).items()
    assert key == path
    assert getattr(getattr(load(tmp_path, CONFIG, **{path.replace(".", "__"): value}), path.split(".")[0]), path.split(".")[1]) == text


@pytest.mark.parametrize("path", ["model", "features", "data", "run", "run.folder", "data.train", "model.sparse", "model.name"])
def test_what_is_missing_is_named(tmp_path, path):
    config = copy.deepcopy(CONFIG)
    place = config
    *parents, last = path.split(".")
    for parent in parents:
        place = place[parent]
    del place[last]
    with pytest.raises(ConfigError, match=rf"run.yaml: {path} is missing"):
        load(tmp_path, config)


def test_an_initializer_that_is_unknown_names_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match=r"unknown initializer 'norml'; did you mean 'normal'\?"):
        load(tmp_path, changed("model.initializer", {"norml": {}}))


def test_changes_are_yaml_values(tmp_path):
    config = load(
        tmp_path, CONFIG, run__epochs="5", optimizer__dense__lr="1e-2", data__eval="null", model__hidden="[4, 2]", data__train="[a, b]"
    )
    assert config.run.epochs == 5
    assert config.optimizer.dense.lr == 0.01
    assert config.data.eval is None
    assert config.model.hidden == [4, 2]
    assert config.data.train == ["a", "b"]


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("run__epoch", "3", r"run.yaml with run.epoch=3: unknown key run.epoch; did you mean 'epochs'\?"),
        ("run__epochs", "two", "run.yaml with run.epochs=two: run.epochs is 'two': input should be a valid integer"),
        ("run__epochs", "[1", r"run.epochs=\[1: not valid YAML"),
        ("run__epochs__x", "1", "run.epochs.x=1: epochs is not a section, so it has no x; set epochs as a whole"),
        ("features__0__name", "x", "features is not a section"),
    ],
)
def test_a_change_that_is_wrong_is_named(tmp_path, key, value, message):
    config = changed("run.epochs", 2)
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, config, **{key: value})


def test_a_change_makes_the_sections_it_needs(tmp_path):
    config = copy.deepcopy(CONFIG)
    config["optimizer"] = None
    assert load(tmp_path, config, optimizer__dense__lr="0.5").optimizer.dense.lr == 0.5


@pytest.mark.parametrize("argument", ["epochs", "=3", "run..epochs=3", ".=1"])
def test_what_is_not_key_value_is_refused(argument):
    with pytest.raises(ConfigError, match=r"is not key=value, such as run\.epochs=2"):
        parse_overrides([argument])


@pytest.mark.parametrize(
    "text, message",
    [
        ("run: {folder: a\n", "not valid YAML"),
        ("- 1\n", r"must hold the keys model, features, data, optimizer, run; found \[1\]"),
        ("", "found None"),
        ("run: {folder: a}\ndata: {}\nrun: {folder: b}\n", "the key 'run' stands there twice"),
        ("run: {epochs: 1, epochs: 2}\n", "the key 'epochs' stands there twice"),
        ("a: !!python/object:os.system {}\n", "could not determine a constructor"),
        ("when: 2020-99-99\n", "not valid YAML"),
        ("[" * 3000, "not valid YAML"),
    ],
    ids=range(8),
)
def test_a_broken_file_is_one_line(tmp_path, text, message):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_run_config(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read_are_named(tmp_path):
    for path, content, message in (
        (tmp_path / "absent.yaml", None, "No such file"),
        (tmp_path / "b.yaml", b"\xff\xfe\x00", "not a text file"),
    ):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ConfigError, match=message) as caught:
            load_run_config(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["1e-3", "1E5", "-2e+3", "1.5e3", "+1e0", "1.e2", "1.0e-3", "0.5"])
def test_numbers_with_an_exponent_are_numbers(text):
    value = parse_yaml(text, "here")
    assert isinstance(value, float)
    assert value == float(text)


# Everything YAML gives a meaning to, line breaks of all kinds, and what is not ASCII.
texts = st.text("ab01eE_-+.:#{}[]&*!|>'\"%@`,?~=<\\/ \t\n\r\0\x7f\x85\u2028\ufeffé😀", max_size=12)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | texts
    | st.sampled_from(["1e5", "-2E-3", "1_0e1", "0x1f", "yes"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_yaml_comes_back_equal(value):
    again = parse_yaml(to_yaml(value), "here")
    assert again == value
    assert type(again) is type(value)


def test_merge_keys_still_work():
    assert parse_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}\n", "here")["b"] == {"x": 1, "y": 2}


def test_the_resolved_configuration_loads_equal(tmp_path):
    config = load(tmp_path, CONFIG, data__label="'1e-3'", optimizer__dense__lr="1e-5")
    (tmp_path / "resolved.yaml").write_text(config.to_yaml())
    assert load_run_config(tmp_path / "resolved.yaml") == config
    assert yaml.safe_load(config.to_yaml())["run"]["save_every"] is None


def test_logistic_regression_is_configured_too(tmp_path):
    config = load(tmp_path, {**CONFIG, "model": {"name": "logistic_regression", "dense": ["i1"], "sparse": ["c1"]}})
    model = config.build_model()
    assert type(model).__name__ == "LogisticRegression"
    with pytest.raises(ConfigError, match=r"unknown key model\.dim"):
        load(tmp_path, {**CONFIG, "model": {"name": "logistic_regression", "sparse": ["c1"], "dim": 4}})


_ONE_ROW = """
from typing import Literal
import torch, yaml, sys
import sparrow.pipelines.model_configs as models

class Mine(torch.nn.Module):
    def __init__(self, features, width):
        super().__init__()
        self.columns, self.width = [], width

class MineConfig(models.ModelSection):
    name: Literal["mine"]
    width: int = 3
    def build(self, features, **of_run):
        return Mine(features, self.width)

models.MODELS = (*models.MODELS, MineConfig)

from sparrow.errors import ConfigError
from sparrow.pipelines.load_config import load_run_config
path = sys.stdin.read()
config = load_run_config(path)
print(type(config.build_model()).__name__, config.build_model().width, "width: 7" in config.to_yaml())
for changes in ({"model.widht": "1"}, {"model.name": "mien"}):
    try:
        load_run_config(path, changes)
    except ConfigError as error:
        print(str(error).partition(": ")[2])
"""


def test_a_model_is_one_row(tmp_path):
    """Of the table of models: with it, a file names the model and its keys are its own."""
    path = write_config(tmp_path / "run.yaml", {**CONFIG, "model": {"name": "mine", "sparse": ["c1"], "width": 7}})
    assert run_python(_ONE_ROW, stdin=str(path)).splitlines() == [
        "Mine 7 True",
        "unknown key model.widht; did you mean 'width'?",
        "model.name is 'mien'; did you mean 'mine'?",
    ]


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_configurations_of_the_project_are_valid(path):
    config = load_run_config(path)
    names = {feature.name for feature in config.build_features()}
    assert {*config.build_model().dense, *config.build_model().sparse} == names
