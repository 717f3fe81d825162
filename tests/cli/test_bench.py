"""`sparrow bench`: it checks, prints a table, writes lines of JSON and a plot, and says in a line what is wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from benchmarks.devices import PEAKS, peak_of
from benchmarks.harness import Goal, Options, Result

from benchmarks import operators, roofline
from device_support import run_on_device
from sparrow.cli import bench
from sparrow.cli.main import main
from sparrow.errors import ConfigError
from tests_support import fresh_environment, run_python

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"
QUICK = ["--quick", "--runs", "1", "--threads", "1"]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _plain_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    # Copying 256 MB would be the longest part of every test.
    monkeypatch.setattr("benchmarks.harness.copy_bandwidth", lambda device="cpu": 1e10)
    monkeypatch.setattr("benchmarks.operators.copy_bandwidth", lambda device="cpu": 1e10)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command: return (exit code, standard output, standard error)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def groups_of(path: Path) -> dict[str, ElementTree.Element]:
    root = ElementTree.parse(path).getroot()
    assert root.tag == f"{SVG}svg"
    return {group.attrib["id"]: group for group in root.iter(f"{SVG}g") if "id" in group.attrib}


def test_operators_give_a_table_lines_and_a_plot(run: Run, tmp_path: Path) -> None:
    lines, plot = tmp_path / "lines.jsonl", tmp_path / "plot.svg"
    code, out, _ = run("bench", "ops", "partition_ids", "find_or_insert", *QUICK, "--json", lines, "--svg", plot)
    assert code == 0
    found = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [line["case"].split(":")[0] for line in found] == ["partition_ids", *["find_or_insert"] * 3]
    for line in found:
        assert line["case"] in out
        assert line["sparrow"] > 0
        assert line["device"] == "cpu"
        assert line["bytes"] > 0
        assert line["mbu"] == pytest.approx(line["bytes"] / line["seconds"] / 1e10)
        assert line["ratio"] == pytest.approx(line["peer_seconds"] / line["seconds"])
        # Goals are those of a GPU, and what a data sheet says of this processor is not known.
        assert (line["goal"], line["met"], line["mbu_of_peak"]) == ("", None, None)
    groups = groups_of(plot)
    assert set(groups) == {"roofline", "cases"}
    assert len([one for one in groups["cases"] if one.get("class") == "case"]) == len(found)
    assert len([one for one in groups["roofline"] if one.get("class") == "dot"]) == len(found)
    assert any(line.get("class") == "roof" for line in groups["roofline"])
    assert "prefers-color-scheme: dark" in plot.read_text()


@pytest.mark.parametrize("name", operators.operator_names())
def test_every_operator_is_measured(name: str, run: Run, tmp_path: Path) -> None:
    lines = tmp_path / "lines.jsonl"
    code, _, err = run("bench", "ops", name, *QUICK, "--json", lines)
    assert code == 0, err
    assert all(json.loads(line)["sparrow"] > 0 for line in lines.read_text().splitlines())


def test_a_step_is_measured(run: Run, tmp_path: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("its native program needs g++")
    lines = tmp_path / "lines.jsonl"
    code, out, _ = run("bench", "step", *QUICK, "--json", lines)
    assert code == 0
    assert "one-hot 16 rowwise_adagrad" in out
    assert json.loads(lines.read_text().splitlines()[0])["sparrow"] > 0


@pytest.mark.parametrize("rule", ["adam", "sgd"])
def test_systems_of_a_device_step_agree_with_float64(rule: str) -> None:
    from benchmarks import device_step

    for kind in (device_step.Sparrow, *device_step.PEERS):
        if not kind.missing("cpu"):
            device_step.check(kind, rule, "cpu")


def test_a_device_step_is_taken_on_a_device() -> None:
    """Sparrow's side on the device that is not there: the benchmark must run on the first GPU it meets."""
    code = f"""
import sys; sys.path.append({str(ROOT)!r})
import device_scenarios
with device_scenarios.device():
    from benchmarks import device_step
    device_step.check(device_step.Sparrow, "adam", str(device_scenarios.DEVICE), rows=40, batch=6)
"""
    run_on_device(code)


def test_what_is_wrong_is_one_line(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("bench", "ops", "fnd", *QUICK)[0::2][1].startswith("error: no operator 'fnd'; did you mean 'find'?")
    code, _, err = run("bench", "ops", "--device", "tpu")
    assert (code, err) == (2, "error: --device tpu: must be cpu or cuda\n")
    code, _, err = run("bench", "ops", "find", *QUICK, "--svg", tmp_path / "no" / "plot.svg")
    assert code == 2
    assert "there is no folder" in err
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, _, err = run("bench", "step", "--device", "cuda")
    assert code == 2
    assert err.startswith("error: --device cuda: torch finds no CUDA device")
    assert err.count("\n") == 1


def test_an_installed_package_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparrow.knobs.checkout", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="sparrow bench runs benchmarks/ of a checkout, and an installed package has none"):
        bench.run_benchmarks("operators", [])
    # A clone one stands in serves, wherever the package lies.
    monkeypatch.chdir(ROOT)
    assert bench._checkout() == ROOT


def test_an_operator_that_fails_is_a_line_and_the_others_run(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(options: Options) -> list[Result]:
        raise AssertionError("answers differ in row 3")

    monkeypatch.setattr("benchmarks.ops.find.run", broken)
    plot = tmp_path / "plot.svg"
    code, out, err = run("bench", "ops", "find", "touch_rows", *QUICK, "--svg", plot)
    assert code == 1
    assert "FAILED, AssertionError: answers differ in row 3" in out
    assert "touch_rows: 600 rows" in out
    assert "Traceback" in err
    assert any("FAILED" in (text.text or "") for text in groups_of(plot)["cases"].iter(f"{SVG}text"))


def test_what_has_no_body_for_a_gpu_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in operators.operator_names():
        has_triton = (ROOT / "src" / "sparrow" / "ops" / name / "triton.py").exists()
        assert operators.has_gpu_body(name) == has_triton
    (left_out,) = operators._measured("unpack_arrow", Options(device="cuda", quick=True))
    assert (left_out.sparrow, left_out.note, left_out.met) == (None, "runs on the CPU only", None)


def test_goals() -> None:
    result = Result("gather", "throughput", "M/s", 2500.0, ratio=3.5, mbu=0.8)
    assert Goal(mbu=0.8, ratio=3).met_by(result)
    assert not Goal(mbu=0.85).met_by(result)
    assert not Goal(ratio=4).met_by(result)
    assert Goal(value=2000).met_by(result)
    assert not Goal(ratio=1).met_by(Result("gather", "throughput", "M/s", 2500.0))
    assert str(Goal(mbu=0.85, ratio=3)) == "MBU 0.85, 3x"


def test_the_data_sheet_of_one_name_is_not_that_of_another() -> None:
    assert peak_of("NVIDIA H200") == 4.8e12
    assert peak_of("NVIDIA H20") == 4.0e12
    assert peak_of("NVIDIA H200 NVL") == PEAKS["NVIDIA H200"]
    assert peak_of("NVIDIA H100 80GB HBM3") == 3.35e12
    assert peak_of("NVIDIA H2000") is None


def test_a_plot_of_a_gpu_has_both_roofs_and_escapes_names(tmp_path: Path) -> None:
    fast = Result("a <b> & c", "throughput", "M/s", 5.0, "torch", 1.0, 5.0, 0.9, "MBU 0.85", True, 9 * 10**9, 0.003, 0.015, 0.8)
    slow = Result("slow", "throughput", "M/s", 5.0, "torch", 1.0, 5.0, 0.1, "MBU 0.85", False, 10**9, 0.003, 0.015, 0.09)
    absent = Result("pack_lists", "left out", "", None, note="runs on the CPU only")
    path = tmp_path / "plot.svg"
    path.write_text(roofline.svg_of([fast, slow, absent], "a GPU", 3.0e12, 3.35e12))
    groups = groups_of(path)
    assert {"roof", "peak"} <= {line.get("class") for line in groups["roofline"].iter(f"{SVG}line")}
    texts = [text.text for text in groups["cases"].iter(f"{SVG}text")]
    assert {"a <b> & c", "runs on the CPU only"} <= set(texts)
    marks = {mark.get("class"): mark.text for mark in groups["cases"].iter(f"{SVG}tspan")}
    assert marks == {"met": "✓", "missed": "✗"}
    # The higher a point, the nearer it is to the roof.
    dots = [next(iter(dot.iter(f"{SVG}text"))) for dot in groups["roofline"] if dot.get("class") == "dot"]
    assert float(dots[0].attrib["y"]) < float(dots[1].attrib["y"])


def test_modules_that_need_hypothesis_can_be_read_without_it() -> None:
    code = """
import hypothesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
assert "without_hypothesis" in hypothesis.__file__
@st.composite
def drawn(draw): return draw(st.integers())
@settings(max_examples=3)
@given(st.lists(st.integers(0, 3), max_size=2) | drawn())
def test(x): raise AssertionError
print([mark.name for mark in test.pytestmark])
"""
    assert run_python(code, PYTHONPATH=str(ROOT / "tests" / "without_hypothesis")).strip() == "['skip']"


def test_checks_on_a_gpu_need_one() -> None:
    code = (
        "import runpy, sys, torch\n"
        "torch.cuda.is_available = lambda: False\n"
        "sys.argv = ['on_gpu']\n"
        "runpy.run_path('tests/on_gpu.py', run_name='__main__')"
    )
    environment = fresh_environment(SPARROW_REQUIRE_CUDA="1")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2
    assert "finds no CUDA device" in done.stderr
    assert "SPARROW_REQUIRE_CUDA=0" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "cpu"], "--device cpu: tiles are of kernels of a GPU"),
        (["--device", "tpu"], "device is 'tpu', expected"),
        (["--rule", "adm"], "--rule adm: not known; did you mean 'adam'?"),
        (["--dtype", "float8"], "--dtype float8: not known"),
        (["--dim", "0"], "--dim 0: expected 1 to 4096"),
    ],
)
def test_tune_says_what_is_wrong(run: Run, arguments: list[str], message: str) -> None:
    code, _, errors = run("tune", *arguments)
    assert code == 2
    assert message in errors
    assert len(errors.splitlines()) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_tune_needs_a_gpu(run: Run) -> None:
    code, _, errors = run("tune")
    assert code == 2
    assert "torch finds no CUDA device here" in errors
