"""The architecture, executable. A change of a table below is a design decision: say why where it is made."""

import ast
import functools
import re
from pathlib import Path

import pytest

from tests_support import run_python

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "sparrow"
MAX_MODULE_LINES, MAX_FUNCTION_LINES = 400, 60

BASE = {"errors", "knobs", "types"}
BELOW_PIPELINES = {"dist", "ops", "tables", "optim", "features", "embedding", "io", "saver", "metrics", "models", "synth"}
MAY_IMPORT = {
    "errors": set(),
    "knobs": {"errors"},
    "types": {"errors"},
    "dist": BASE,
    "ops": BASE,
    "tables": BASE | {"ops"},
    "optim": BASE | {"ops", "tables"},
    "features": BASE | {"ops"},
    "embedding": BASE | {"dist", "ops", "tables", "features"},
    "io": BASE | {"dist", "ops"},
    "saver": BASE | {"dist"},
    "metrics": BASE | {"dist", "ops"},
    # A model declares its tables, so it names their initializers.
    "models": BASE | {"ops", "tables", "embedding", "features"},
    # Data with a known truth is written in io's formats and judged by our metrics.
    "synth": BASE | {"io", "metrics"},
    "pipelines": BASE | BELOW_PIPELINES,
    "serving": BASE | (BELOW_PIPELINES - {"optim"}),
    "cli": BASE | BELOW_PIPELINES | {"pipelines", "serving"},
}
MODULES = sorted(path for path in SRC.rglob("*.py") if path != SRC / "__init__.py")
PYTHON = sorted(path for folder in ("src", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py"))
NATIVE = sorted(path for path in (ROOT / "csrc").rglob("*") if path.suffix in {".h", ".cpp"})
# Any folder and any compiled file makes an operator, so that none can lose a tree unseen.
OPS = sorted({path.parent.name for path in (SRC / "ops").glob("*/*.py")} | {path.stem for path in (ROOT / "csrc" / "ops").glob("*.cpp")})
# Data, not code: one line a row.
GENERATED = {SRC / "ops" / "init_rows" / "normal_table.py", ROOT / "csrc" / "core" / "normal_table.h"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def room_of(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


@functools.cache
def imports_of(path: Path) -> frozenset[str]:
    """Every module or name a file imports, lazily or by a string (`import_module("sparrow.x")`) too, as dotted paths."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}: relative import; write `from sparrow.x import y`"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"sparrow(\.\w+)+", node.value):
            names.add(node.value)
    return frozenset(names)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_downward(path: Path) -> None:
    room = room_of(path)
    assert room in MAY_IMPORT, f"unknown room {room!r}: add it to the table, and to docs/architecture.md"
    # `from sparrow import knobs` names the room second; `from sparrow import __version__` none.
    rooms = {name.split(".")[1] for name in imports_of(path) if name.startswith("sparrow.")} - {"__version__"}
    upward = rooms - MAY_IMPORT[room] - {room}
    assert not upward, f"{room} must not import {sorted(upward)}"


@pytest.mark.parametrize("path", [path for path in PYTHON + NATIVE if path not in GENERATED], ids=name_of)
def test_modules_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_MODULE_LINES, "split it by concept"


@pytest.mark.parametrize("path", PYTHON, ids=name_of)
def test_functions_are_short(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno is not None:
            assert node.end_lineno - node.lineno < MAX_FUNCTION_LINES, f"{node.name} at line {node.lineno}"


@pytest.mark.parametrize("op", OPS)
def test_every_operator_has_all_its_trees(op: str) -> None:
    for path in (
        SRC / "ops" / op / "op.py",
        SRC / "ops" / op / "reference.py",
        ROOT / "csrc" / "ops" / f"{op}.cpp",
        ROOT / "csrc" / "core" / f"{op}.h",
        ROOT / "tests" / "ops" / f"test_{op}.py",
        ROOT / "benchmarks" / "ops" / f"{op}.py",
    ):
        assert path.exists(), f"operator {op} has no {name_of(path)}"
    kernel = ROOT / "csrc" / "core" / f"{op}.h"
    assert kernel in headers_included_by(ROOT / "csrc" / "ops" / f"{op}.cpp"), f"operator {op} does not run {name_of(kernel)}"


def headers_included_by(path: Path) -> set[Path]:
    """Return the headers of csrc/core that `path` includes, directly or not."""
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        # From the start of a line: an include that is commented out is none.
        for name in re.findall(r'^#include "(core/[^"]+)"', waiting.pop().read_text(), re.MULTILINE):
            header = ROOT / "csrc" / name
            if header not in found:
                found.add(header)
                waiting.append(header)
    return found


def test_every_kernel_runs_under_the_sanitizers() -> None:
    tested = set().union(*(headers_included_by(path) for path in (ROOT / "csrc" / "tests").glob("*_test.cpp")))
    untested = set((ROOT / "csrc" / "core").rglob("*.h")) - tested
    assert not untested, f"no test in csrc/tests includes {sorted(map(name_of, untested))}"


def test_references_are_never_run_by_the_package() -> None:
    """The reference is the specification; dispatching to it would hide a missing body."""
    for path in MODULES:
        if path.name != "reference.py":
            assert not [name for name in imports_of(path) if re.match(r"sparrow\.ops\.\w+\.reference", name)], name_of(path)


@pytest.mark.parametrize("path", sorted(SRC.glob("*/__init__.py")), ids=name_of)
def test_public_names_are_listed_once(path: Path) -> None:
    """Their order is ruff's (rule I)."""
    lines = [line for line in path.read_text().splitlines() if line.startswith("from ")]
    names = [re.fullmatch(r"from [\w.]+ import (\w+) as (\w+)", line) for line in lines]
    assert all(match is not None and match[1] == match[2] for match in names), "write `from sparrow.x.y import Name as Name`"
    public = [match[1] for match in names if match is not None]
    assert len(public) == len(set(public))


def test_no_import_cycle_between_files() -> None:
    modules = {".".join(["sparrow", *path.relative_to(SRC).with_suffix("").parts]).removesuffix(".__init__"): path for path in MODULES}
    edges: dict[str, set[str]] = {}
    for module, path in modules.items():
        targets = {name if name in modules else name.rpartition(".")[0] for name in imports_of(path)}
        edges[module] = {target for target in targets if target in modules and target != module}
    finished: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, f"import cycle: {' -> '.join([*trail[trail.index(module) :], module])}"
        if module not in finished:
            for target in sorted(edges[module]):
                visit(target, (*trail, module))
            finished.add(module)

    for module in sorted(edges):
        visit(module, ())


def test_environment_is_read_in_knobs_alone() -> None:
    readers = [name_of(path) for path in MODULES if re.search(r"\bos(\.| import .*)(environ|getenv)", path.read_text())]
    assert readers == ["src/sparrow/knobs.py"]


def test_import_sparrow_needs_torch_and_numpy_only() -> None:
    heavy = ["pyarrow", "pydantic", "typer", "rich", "yaml", "safetensors", "sklearn", "pandas"]
    rooms = ", ".join(f"sparrow.{room}" for room in ("tables", "features", "embedding", "models", "optim"))
    loaded = run_python(f"import sys, sparrow, {rooms}\nprint([name for name in {heavy} if name in sys.modules])")
    assert loaded.strip() == "[]"


def test_command_line_options_are_pinned() -> None:
    """A new option is a promise: prefer a key of the configuration."""
    from sparrow.cli.main import command_options

    assert command_options() == {
        "sparrow bench ops": ["--debug", "--device", "--json", "--quick", "--runs", "--svg", "--threads"],
        "sparrow bench step": ["--debug", "--device", "--json", "--quick", "--runs", "--threads"],
        "sparrow data fit": ["--debug", "--out"],
        "sparrow data head": ["--columns", "--debug", "--json", "--rows"],
        "sparrow data schema": ["--debug", "--json"],
        "sparrow data stats": ["--columns", "--debug", "--html", "--json", "--rows"],
        "sparrow data synth": ["--debug", "--eval-rows", "--rows", "--seed"],
        "sparrow eval": ["--data", "--debug", "--json"],
        "sparrow inspect": ["--debug", "--json"],
        "sparrow train": ["--debug", "--resume"],
        "sparrow tune": ["--debug", "--device", "--dim", "--dtype", "--rule"],
    }
