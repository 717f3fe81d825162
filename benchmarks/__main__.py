"""python -m benchmarks NAME [--threads N] [--runs N] [--huge-malloc] [--json FILE] [--data DIR] [--device cpu|cuda]; no NAME: list them.

`python -m benchmarks NAME --help` names the options of that benchmark alone too. Exit code 1: a goal was missed; 2: a wrong command.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import torch

from benchmarks.harness import HUGE_MALLOC, ROOT, Options, Result
from sparrow import knobs
from sparrow.errors import ConfigError


def names() -> dict[str, str]:
    """Return benchmark name -> the first line of its page."""
    found = {}
    for path in sorted((ROOT / "benchmarks").rglob("*.py")):
        tree = ast.parse(path.read_text())
        if any(isinstance(node, ast.FunctionDef) and node.name == "run" for node in tree.body):
            name = str(path.relative_to(ROOT / "benchmarks").with_suffix(""))
            found[name] = (ast.get_docstring(tree) or "").splitlines()[0]
    return found


def show(results: list[Result]) -> None:
    width = max((len(result.case) for result in results), default=4)
    print(f"{'case':{width}}  {'sparrow':>10}  {'peer':>10}  {'ratio':>6}  {'MBU':>5}  {'peak':>5}  {'unit':8}  peer's name, or goal")
    for result in results:
        if result.sparrow is None:
            print(f"{result.case:{width}}  {'-':>10}  {result.note}")
            continue
        peer = "" if result.peer_value is None else f"{result.peer_value:10.4g}"
        ratio = "" if result.ratio is None else f"{result.ratio:6.2f}"
        mbu, peak = ("" if share is None else f"{share:5.2f}" for share in (result.mbu, result.mbu_of_peak))
        goal = "" if result.met is None else f"goal {result.goal}: {'met' if result.met else 'MISSED'}"
        last = ", ".join(filter(None, [result.peer, goal, result.note]))
        print(
            f"{result.case:{width}}  {result.sparrow:10.4g}  {peer:>10}  {ratio:>6}  {mbu:>5}  {peak:>5}  {result.unit:8}  {last}",
            flush=True,
        )


def parser_of(module: ModuleType | None) -> argparse.ArgumentParser:
    """Return the parser of the shared options and of those the benchmark adds by `arguments(parser)`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Times Sparrow beside a peer; correctness first.")
    parser.add_argument("name", nargs="?")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--data", type=Path, default=knobs.data_folder(), help="folder of real data sets")
    parser.add_argument("--runs", type=int, default=7, help="samples a median is taken of")
    parser.add_argument("--quick", action="store_true", help="tiny inputs: shows that everything runs and agrees, its figures mean nothing")
    parser.add_argument("--json", type=Path, help="append the results to this file, a JSON line each")
    parser.add_argument(
        "--huge-malloc", action="store_true", help="let malloc keep freed pages and take huge ones, for Sparrow and peers alike"
    )
    if module is not None and hasattr(module, "arguments"):
        module.arguments(parser)
    return parser


def check_place(arguments: argparse.Namespace) -> None:
    """Raise `ConfigError` where the device or the folder of the results is not there: before minutes are spent."""
    if arguments.device == "cuda" and not torch.cuda.is_available():
        built = "" if torch.version.cuda or torch.version.hip else f"; torch {torch.__version__} was built for the CPU alone"
        raise ConfigError(f"--device cuda: torch finds no CUDA device{built}; use a machine with a GPU, or --device cpu")
    if arguments.json is not None and not arguments.json.parent.is_dir():
        raise ConfigError(f"--json {arguments.json}: there is no folder {arguments.json.parent}; make it, or name another")


def measure(name: str, arguments: argparse.Namespace) -> Iterator[Result]:
    """Run a benchmark as `arguments` ask; each result joins the file of `--json` as it comes, so a run cut short leaves what it has."""
    options = Options(arguments.threads, arguments.device, arguments.data, arguments.runs, arguments, arguments.quick)
    torch.set_num_threads(options.threads)
    for result in _module(name).run(options):
        if arguments.json is not None:
            with arguments.json.open("a") as stream:
                stream.write(json.dumps(result.as_line(options)) + "\n")
        yield result


def main(argv: Sequence[str]) -> int:
    known = names()
    # A benchmark adds options of its own, so its name must be known before the rest is read.
    name = argv[0] if argv and not argv[0].startswith("-") else None
    if name is not None and name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        print(f"error: no benchmark {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""), file=sys.stderr)
        return 2
    arguments = parser_of(None if name is None else _module(name)).parse_args(argv)
    if name is None:
        for other, line in known.items():
            print(f"{other:24} {line}")
        return 0
    if arguments.huge_malloc and any(os.environ.get(key) != value for key, value in HUGE_MALLOC.items()):
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks", *argv], {**os.environ, **HUGE_MALLOC})
    try:
        check_place(arguments)
        results = list(measure(name, arguments))
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    show(results)
    return int(any(result.met is False for result in results))


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"benchmarks.{name.replace('/', '.')}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
