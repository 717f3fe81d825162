"""The commands from one to the next: data, train, eval, inspect."""

import json

import pytest

import sparrow as package
from pipelines.clicks import config_for, summary_of, write_config
from sparrow.cli.main import main
from sparrow.cli.show import bytes_text
from sparrow.saver import Saver, open_chunks


def run(capsys, *arguments):
    """Return (exit code, standard output, standard error) of a command run in this process."""
    try:
        main([str(argument) for argument in arguments])
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(scope="module")
def trained(clicks, sparrow, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    path = write_config(folder / "run.yaml", config_for(clicks / "train", clicks / "eval", "nowhere", save_every=20))
    done = sparrow("train", path, f"run.folder={folder / 'run'}", "run.epochs=1")
    assert done.code == 0, done.err
    return folder / "run", done


def test_train_prints_what_it_did_and_leaves_a_run_folder(trained):
    folder, done = trained
    summary = summary_of(folder)
    assert "done after 19 steps, 600 samples" in done.out
    assert f"eval:  AUC {summary['eval']['auc']:.4f}  log loss {summary['eval']['log_loss']:.4f}  (200 samples)" in done.out
    assert f"run folder: {folder}" in done.out
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoints",
        "config.yaml",
        "features.json",
        "metrics.jsonl",
        "summary.json",
    ]
    # Not a terminal: lines, no bar.
    assert done.err.splitlines()[0].startswith("epoch 1  step 10  ")


def test_eval_gives_the_metrics_of_the_training(trained, capsys, clicks):
    folder, _ = trained
    code, out, _ = run(capsys, "eval", folder, "--json")
    assert code == 0
    metrics = json.loads(out)
    assert metrics.pop("checkpoint").endswith("step-00000019")
    assert metrics == summary_of(folder)["eval"]
    code, out, _ = run(capsys, "eval", folder / "checkpoints" / "step-00000019", "--data", clicks / "train")
    assert code == 0
    assert "(600 samples)" in out


def test_inspect_counts_what_the_files_hold(trained, capsys):
    folder, _ = trained
    code, out, _ = run(capsys, "inspect", folder, "--json")
    assert code == 0
    shown = json.loads(out)
    checkpoint = Saver(folder / "checkpoints").latest()
    assert [tensor["name"] for tensor in shown["dense"]] == [
        "bias",
        "dense_vectors",
        "dense_weights",
        "mlp.0.bias",
        "mlp.0.weight",
        "mlp.3.bias",
        "mlp.3.weight",
    ]
    assert {table["name"] for table in shown["tables"]} == {"c1", "c2", "title", "c1.linear", "c2.linear", "title.linear"}
    for table in shown["tables"]:
        assert table["num_rows"] == sum(chunk.ids.numel() for chunk in open_chunks(checkpoint, table["name"]))
        assert table["weights_bytes"] == 4 * table["dim"] * table["num_rows"]
    code, out, _ = run(capsys, "inspect", checkpoint)
    assert code == 0
    for text in ("step 19", "c2.linear", "6 tables", "mlp.0.weight", "8x"):
        assert text in out


def test_data_synth_writes_what_the_reader_reads(tmp_path, capsys):
    code, out, err = run(capsys, "data", "synth", tmp_path / "rows", "--rows", 3000, "--eval-rows", 500, "--seed", 3)
    assert code == 0, err
    assert f"wrote {tmp_path / 'rows'}" in out
    assert "AUC of the truth 0." in out
    assert list((tmp_path / "rows").rglob("*.orc"))
    code, _, err = run(capsys, "data", "synth", tmp_path / "rows", "--rows", 3000)
    assert code == 2
    assert err.startswith("error: ")
    assert str(tmp_path / "rows") in err


def test_data_of_one_label_has_no_auc_and_says_so(tmp_path, capsys):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    for _ in ("written", "found again"):
        code, out, err = run(capsys, "data", "synth", tmp_path / "rows", "--rows", 50, "--eval-rows", 2)
        assert code == 0, err
        assert "AUC of the truth -, of what the training rows can teach -\n" in out
        assert "all of one label, so no AUC exists; ask for more by --eval-rows" in out
    report = json.loads((tmp_path / "rows" / "truth.json").read_text(), parse_constant=refuse)["report"]
    assert (report["bayes_auc"], report["learnable_auc"], report["eval_rows"]) == (None, None, 2)


def test_ctrl_c_outside_training_is_one_line(monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("sparrow.pipelines.run.evaluate_run", interrupt)
    monkeypatch.setattr("sparrow.synth.generate", interrupt)
    assert run(capsys, "eval", "runs/mine") == (130, "", "interrupted\n")
    assert run(capsys, "data", "synth", "rows") == (130, "", "interrupted\n")


def test_version(capsys):
    assert run(capsys, "--version") == (0, f"sparrow {package.__version__}\n", "")


@pytest.mark.parametrize(
    "num_bytes, text", [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_345_678, "12.3 MB"), (10**17, "100000.0 TB")]
)
def test_bytes_are_read_by_people(num_bytes, text):
    assert bytes_text(num_bytes) == text


def test_data_options_of_a_configuration_reach_the_reader(clicks, tmp_path, capsys):
    """A damaged file is left out and counted; shuffled rows train another model, the same again for the same seed."""
    (tmp_path / "data").mkdir()
    for path in sorted((clicks / "train").iterdir()):
        (tmp_path / "data" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "data" / "zzz.orc").write_bytes(b"ORC, but cut off")
    path = write_config(tmp_path / "run.yaml", config_for(tmp_path / "data", clicks / "eval", "nowhere"))

    def trained(name, *changes):
        code, _, err = run(capsys, "train", path, f"run.folder={tmp_path / name}", *changes)
        assert code == 0, err
        lines = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        return summary_of(tmp_path / name)["eval"], lines[-1]

    assert run(capsys, "train", path, f"run.folder={tmp_path / 'stops'}")[0] == 2
    skip = ("data.on_error=skip", "data.format=orc", "data.num_threads=2")
    plain, line = trained("plain", *skip)
    assert line["reader"] == {"skipped_files": 1}
    one, _ = trained("one", *skip, "data.shuffle={seed: 3, window_files: 2}")
    again, _ = trained("again", *skip, "data.shuffle={seed: 3, window_files: 2}")
    other, _ = trained("other", *skip, "data.shuffle={seed: 4}")
    assert one == again
    assert plain != one != other
    code, _, err = run(capsys, "train", path, "data.shuffle={sed: 3}")
    assert code == 2
    assert "unknown key data.shuffle.sed; did you mean 'seed'?" in err
