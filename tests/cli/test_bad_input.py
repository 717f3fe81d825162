"""Whatever is wrong with what a user gives: one line with the thing and the fix, exit code 2, and what was saved stays readable."""

import os

import pyarrow as pa
import pytest
from pyarrow import orc

from pipelines.clicks import click_table, config_for, rows_and_weights, write_clicks, write_config
from sparrow.cli.main import main

RENAMED = ["label", "i1", "i2", "c1", "c2", "titel"]


@pytest.fixture
def refused(capsys):
    """Run a command that must fail: return its one line."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        last = captured.err.splitlines()[-1]
        assert stop.value.code == 2, captured.err
        assert last.startswith("error: ")
        assert [line for line in captured.err.splitlines() if "error" in line.lower()] == [last]
        assert "Traceback" not in captured.err + captured.out
        return last.removeprefix("error: ")

    return run


@pytest.fixture
def succeeded(capsys):
    """Run a command that must succeed: return what it printed."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert not stop.value.code, captured.err
        return captured.out

    return run


@pytest.fixture
def config(clicks, tmp_path):
    return write_config(tmp_path / "run.yaml", config_for(clicks / "train", clicks / "eval", tmp_path / "run", save_every=10))


def write(path, table):
    path.parent.mkdir(exist_ok=True)
    orc.write_table(table, str(path))
    return path


def write_bytes(path, content):
    path.write_bytes(content)
    return path


def replaced_row(row, value):
    """A click table with one label of its own."""
    labels = [[0.0]] * 400
    labels[row] = value
    return click_table(400, 1, label=pa.array(labels, pa.list_(pa.float64())))


@pytest.mark.parametrize(
    "make, expected",
    [
        (lambda folder: folder / "absent.orc", "absent.orc: no such file or folder"),
        (lambda folder: folder / "absent-*.orc", "absent-*.orc: no file matches this pattern"),
        (
            lambda folder: ((folder / "empty.orc").write_bytes(b"") and None) or folder / "empty.orc",
            "empty.orc: the file is empty (0 bytes)",
        ),
        (lambda folder: write(folder / "none.orc", click_table(0, 1)), "none.orc: no rows at all"),
        (lambda folder: write_bytes(folder / "clicks.orc", b"label,i1\n1,2\n"), "clicks.orc: is not an ORC file"),
        (
            lambda folder: write(folder / "a.orc", click_table(50, 1).rename_columns(RENAMED)),
            "a.orc: no column 'title'; did you mean 'titel'?",
        ),
        (
            lambda folder: write(folder / "a.orc", click_table(50, 1, c1=pa.array(["x"] * 50))),
            "row 0: feature 'c1', column 'c1'|feature 'c1': embeddings need integer ids",
        ),
        (lambda folder: write(folder / "a.orc", click_table(50, 1, i1=pa.array(["x"] * 50))), "feature 'i1'"),
        (
            lambda folder: write(folder / "a.orc", replaced_row(390, [float("nan")])),
            "a.orc, row 390: label column 'label' is nan; expected 0 or 1",
        ),
        (lambda folder: write(folder / "a.orc", replaced_row(7, [2.0])), "a.orc, row 7: label column 'label' is 2.0; expected 0 or 1"),
        (
            lambda folder: write(folder / "a.orc", replaced_row(33, [])),
            "a.orc, row 33: label column 'label' holds 0 values; expected exactly one",
        ),
    ],
    ids=[
        "absent",
        "no_match",
        "empty",
        "no_rows",
        "not_orc",
        "no_column",
        "ids_of_text",
        "numbers_of_text",
        "nan_label",
        "label_2",
        "no_label",
    ],
)
def test_bad_rows(refused, config, tmp_path, make, expected):
    line = refused("train", config, f"data.train={make(tmp_path)}")
    assert any(part in line for part in expected.split("|")), line


def test_a_truncated_file_after_good_ones_is_found_before_training(refused, succeeded, config, tmp_path):
    folder = write_clicks(tmp_path / "rows", num_files=2, rows_per_file=400)
    part = folder / "part-1.orc"
    part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
    line = refused("train", config, f"data.train=[{folder / 'part-0.orc'}, {part}]")
    assert f"{part}: is truncated" in line
    write_clicks(tmp_path / "again", num_files=2, rows_per_file=400)
    # num_rows opens every file before the first step: nothing was trained, so nothing stands in the way of the mended run.
    succeeded("train", config, f"data.train={tmp_path / 'again'}")


def test_a_bad_label_late_leaves_the_checkpoint_before_it(refused, succeeded, config, tmp_path):
    bad = write(tmp_path / "a.orc", replaced_row(390, [5.0]))
    line = refused("train", config, f"data.train={bad}")
    assert f"{bad}, row 390: label column 'label' is 5.0" in line
    assert "step-00000010: AUC " in succeeded("eval", tmp_path / "run")
    assert f"{tmp_path / 'run'} holds an earlier run" in refused("train", config, f"data.train={bad}")


@pytest.mark.parametrize(
    "change, expected",
    [
        ("run.epoch=3", "run.yaml with run.epoch=3: unknown key run.epoch; did you mean 'epochs'?"),
        ("model.dim=wide", "run.yaml with model.dim=wide: model.dim is 'wide': input should be a valid integer"),
        ("epochs", "'epochs' is not key=value"),
        ("model.sparse=[c1, c9]", "'c9' is not a declared feature"),
        ("data.label=labels", "no column 'labels'; did you mean 'label'?"),
        ("data.label=i1", "data.label is 'i1', a column the model's features read"),
    ],
)
def test_a_mistyped_configuration(refused, config, change, expected):
    assert expected in refused("train", config, change)


def test_files_that_are_not_there(refused, tmp_path):
    assert "absent.yaml: No such file or directory; give a YAML file" in refused("train", tmp_path / "absent.yaml")
    assert f"{tmp_path / 'runs'} does not exist; give a run folder" in refused("inspect", tmp_path / "runs")
    assert f"{tmp_path / 'runs'} does not exist; give a run folder" in refused("eval", tmp_path / "runs")
    assert f"{tmp_path} holds no checkpoint" in refused("inspect", tmp_path)


@pytest.fixture
def trained(succeeded, config, tmp_path):
    succeeded("train", config)
    return tmp_path / "run"


def test_a_checkpoint_of_another_model(refused, succeeded, config, trained):
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    for change, expected in (
        ("model.dim=8", "config.yaml: the run to resume has model.dim 4, now it is 8; resume without the change, or begin a new run"),
        ("optimizer.dense.name=sgd", "has optimizer.dense.name 'adam', now it is 'sgd'"),
        ("optimizer.sparse.lr=0.5", "has optimizer.sparse.lr 0.01, now it is 0.5"),
        ("features=[{name: i1, transforms: [{fill: 0}]}, {name: 'c{1,2}'}, {name: i2}, {name: title}]", "has features[0] "),
        ("model={name: logistic_regression, sparse: [c1]}", "has model.name 'deepfm', now it is 'logistic_regression'"),
        ("run.seed=2", "has run.seed 1, now it is 2"),
    ):
        assert expected in refused("train", config, change, "--resume")
    # The configuration is only a note; the checkpoint knows for itself.
    saved = (trained / "config.yaml").read_text()
    (trained / "config.yaml").unlink()
    for change, expected in (
        ("model.dim=8", "only in the model: 'embedding.dim8.float32.normal.adam'"),
        ("model.hidden=[9]", "dense tensor 'mlp.0."),
        ("optimizer.sparse.rule=adagrad", "adagrad"),
        ("model.sparse=[c1, c2]", "title"),
        ("optimizer.dense.name=sgd", "the optimizer saved is CombinedOptimizer of Adam, this run's CombinedOptimizer of SGD"),
    ):
        assert expected in refused("train", config, change, "--resume")
    (trained / "config.yaml").write_text(saved)
    # Nothing of the run was touched.
    assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == before
    assert "AUC" in succeeded("eval", trained)
    expected = "config.yaml: the run has model.dim 4, now it is 8; evaluate without the change, or begin a new run"
    assert expected in refused("eval", trained, "model.dim=8")


def test_a_run_of_another_machine(refused, succeeded, config, trained):
    """A folder that says `device: cuda` is evaluated and resumed where there is none, but not in silence."""
    recorded = trained / "config.yaml"
    recorded.write_text(recorded.read_text().replace("device: cpu", "device: cuda:99"))
    assert "config.yaml: run.device is 'cuda:99', and t" in refused("eval", trained)
    assert "AUC" in succeeded("eval", trained, "run.device=cpu")
    succeeded("train", config, "run.device=cpu", "run.epochs=3", "--resume")


def test_other_files_than_the_run_was_trained_on(refused, config, trained, clicks):
    line = refused("train", config, f"data.train={clicks / 'eval'}", "run.epochs=3", "--resume")
    assert "the state of the reader does not fit this run" in line
    assert "belongs to other files" in line


def test_resuming_where_no_run_is(refused, succeeded, config, tmp_path):
    absent = tmp_path / "rnu"
    line = refused("train", config, f"run.folder={absent}", "--resume")
    assert line == f"run.folder {absent} does not exist, so there is nothing to resume; correct it, or begin a new run without --resume"
    assert not absent.exists()
    absent.mkdir()
    assert f"run.folder {absent} holds no run" in refused("train", config, f"run.folder={absent}", "--resume")
    assert list(absent.iterdir()) == []
    # A run that was killed before its first checkpoint has left its configuration.
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("")
    assert "done after 38 steps" in succeeded("train", config, "--resume")


def test_a_damaged_checkpoint(refused, config, trained):
    newest = sorted((trained / "checkpoints").iterdir())[-1]
    dense = newest / "dense.safetensors"
    content = bytearray(dense.read_bytes())
    content[-1] ^= 1
    dense.write_bytes(content)
    for command in (["eval", trained], ["train", config, "--resume"]):
        line = refused(*command)
        assert str(dense) in line
    dense.unlink()
    assert str(dense) in refused("inspect", trained)


def test_output_that_is_no_folder(refused, config, tmp_path):
    (tmp_path / "file").write_text("")
    line = refused("train", config, f"run.folder={tmp_path / 'file'}/run")
    assert f"cannot write to the run folder {tmp_path / 'file'}/run" in line


def test_a_read_only_folder(sparrow, tmp_path):
    """Root may write everywhere, so the process becomes another user first."""
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    before = f"import os\nos.chdir({str(folder)!r})\nos.getuid() or os.setuid(65534)\n"
    # Paths relative to the folder: the one above belongs to this user alone.
    run = write_config(folder / "run.yaml", config_for("train", None, "run")) if os.getuid() == 0 else None
    if run is None:
        pytest.skip("not root: tests/pipelines/test_run_folder.py does this as this user")
    (folder / "train").mkdir()
    orc.write_table(click_table(64, 1), str(folder / "train" / "a.orc"))
    done = sparrow("train", "run.yaml", before=before)
    assert done.code == 2, done.err
    assert (
        done.err == "error: cannot write to the run folder run: Permission denied; free space or permissions, or name another run folder\n"
    )


def test_a_full_disk(sparrow, config, tmp_path):
    """A limit on file sizes stops a checkpoint in the middle as a full disk would."""
    small = sparrow("train", config, "model.dim=32", "run.max_steps=10")
    assert small.code == 0, small.err
    before = rows_and_weights(tmp_path / "run")
    limit = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
    )
    done = sparrow("train", config, "model.dim=32", "--resume", before=limit)
    assert done.code == 2, done.err
    assert "cannot save a checkpoint here" in done.err
    assert "Traceback" not in done.err
    assert rows_and_weights(tmp_path / "run") == before
    assert sparrow("eval", tmp_path / "run").code == 0


def test_a_package_that_is_not_installed(sparrow):
    done = sparrow("inspect", "runs", before="import sys\ndel sys.modules['sparrow.cli.show']\nsys.modules['rich.table'] = None")
    assert done.code == 2
    assert done.err == "error: this command needs the package 'rich', which is not installed; run: pip install 'sparrow-rec[train]'\n"


def test_what_the_system_refuses_is_one_line(sparrow, config, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o000)
    if os.getuid() != 0:
        done = sparrow("train", config, f"data.train={tmp_path / 'locked'}")
    else:
        tmp_path.chmod(0o755)
        done = sparrow("train", "run.yaml", "data.train=locked", before=f"import os\nos.chdir({str(tmp_path)!r})\nos.setuid(65534)\n")
    assert done.code == 2, done.err
    assert done.err.startswith("error: ")
    assert "locked: Permission denied; check the path" in done.err


def test_debug_shows_the_traceback_above_the_same_line(capsys, tmp_path):
    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(["train", str(tmp_path / "absent.yaml"), *arguments])
        assert stop.value.code == 2
        return capsys.readouterr().err

    line = run()
    shown = run("--debug")
    assert line.count("\n") == 1
    assert shown.startswith("Traceback ")
    assert "ConfigError: " in shown
    assert shown.endswith(line)


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["train"], "Missing argument"),
        (["train", "run.yaml", "--resum"], "No such option: --resum"),
        (["inspct", "runs"], "No such command 'inspct'"),
        (["data", "synth", "rows", "--rows", "many"], "Invalid value for '--rows'"),
    ],
)
def test_usage_errors_have_the_same_exit_code(capsys, arguments, expected):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert expected in capsys.readouterr().err
