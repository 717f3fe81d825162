"""What the pages of training and of the command line say, run as it stands there."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from pipelines.clicks import summary_of
from sparrow.cli.main import main
from sparrow.pipelines import TrainerOptions

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(clicks, tmp_path, monkeypatch):
    (tmp_path / "clicks").symlink_to(clicks)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_training_page_runs(folder):
    names = {}
    for block in blocks("training.md", "python"):
        exec(block, names)
    assert summary_of(folder / "runs" / "first")["epochs_finished"] == 3
    assert names["summary"]["eval"]["num_samples"] == 200
    assert names["trainer"].hooks


def test_the_training_page_names_every_setting_and_key(folder):
    page = (DOCS / "training.md").read_text()
    for name in TrainerOptions.__dataclass_fields__:
        assert f"`{name}`" in page, name
    for block in blocks("training.md", "python")[:1]:
        exec(block, {})
    for name in summary_of(folder / "runs" / "first"):
        assert f"`{name}`" in page, name


def test_the_command_line_page_runs(folder, capsys):
    (folder / "run.yaml").write_text(blocks("cli.md", "yaml")[0])
    for line in "".join(blocks("cli.md", "sh")).splitlines():
        with pytest.raises(SystemExit) as stop:
            main(shlex.split(line)[1:])
        assert not stop.value.code, line + capsys.readouterr().err
    assert summary_of(folder / "runs" / "mine")["epochs_finished"] == 3
    command, expected = re.search(r"^\$ sparrow (.*)\n(.*)", blocks("cli.md", "console")[0]).groups()
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(shlex.split(command))
    assert stop.value.code == 2
    assert capsys.readouterr().err == expected + "\n"


def test_the_command_line_page_lists_every_key(folder):
    def keys(value, path):
        if not isinstance(value, dict) or path in ("model.initializer", "optimizer.sparse.hyper"):
            return [path]
        return [key for name, inner in value.items() for key in keys(inner, f"{path}.{name}" if path else name)]

    (folder / "run.yaml").write_text(blocks("cli.md", "yaml")[0])
    with pytest.raises(SystemExit):
        main(["train", "run.yaml", "run.max_steps=1"])
    table = (DOCS / "cli.md").read_text().split("## Keys")[1]
    for key in keys(yaml.safe_load((folder / "runs" / "mine" / "config.yaml").read_text()), ""):
        section, _, last = key.rpartition(".")
        assert f"`{key}`" in table or (f"`.{last}`" in table and f"`{section}." in table), key
