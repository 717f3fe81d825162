"""The tests of Triton bodies once more, on what Triton's compiler makes for sm_90: `SPARROW_PTX=1` runs any of them so."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests_support import fresh_environment
from triton_support import EMULATES

ROOT = Path(__file__).resolve().parents[2]
# Of every kind of kernel one, daily: compiling takes most of the time.
DAILY = ["find_or_insert", "gather_pool"]
OTHERS = sorted(path.name[5:-3] for path in (ROOT / "tests" / "ops").glob("test_*.py") if path.name[5:-3] not in DAILY)


def _passes(*arguments: str) -> None:
    if importlib.util.find_spec("triton") is None:
        pytest.skip("triton is not installed: nothing compiles its kernels")
    if EMULATES:
        pytest.skip("this is such a run already")
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu and not nightly", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=fresh_environment(SPARROW_PTX="1"), capture_output=True, text=True, check=False)
    # 5: no test is marked so.
    assert done.returncode in (0, 5), done.stdout[-4000:] + done.stderr[-1000:]
    assert done.returncode == 5 or " passed" in done.stdout


@pytest.mark.parametrize("op", DAILY)
def test_compiled_kernels_pass_the_tests_of_the_operator(op: str) -> None:
    _passes(f"tests/ops/test_{op}.py")


@pytest.mark.nightly
@pytest.mark.parametrize("op", OTHERS)
def test_compiled_kernels_pass_the_tests_of_other_operators(op: str) -> None:
    _passes(f"tests/ops/test_{op}.py")


@pytest.mark.nightly
@pytest.mark.parametrize("folder", ["embedding", "features", "io", "models", "optim", "pipelines", "tables"])
def test_compiled_kernels_pass_the_tests_of_whole_steps(folder: str) -> None:
    _passes(f"tests/{folder}")
