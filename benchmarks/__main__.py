"""python -m benchmarks NAME [--threads N] [--device cpu|cuda] [--data DIR] [--runs N] [--json FILE]; without NAME: list them."""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import json
import sys
from pathlib import Path

import torch

from benchmarks.harness import ROOT, Options, Result
from sparrow import knobs


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
    width = max(len(result.case) for result in results)
    print(f"{'case':{width}}  {'sparrow':>10}  {'peer':>10}  {'ratio':>6}  {'MBU':>5}  unit   peer's name")
    for result in results:
        peer = "" if result.peer_value is None else f"{result.peer_value:10.4g}"
        ratio = "" if result.ratio is None else f"{result.ratio:6.2f}"
        mbu = "" if result.mbu is None else f"{result.mbu:5.2f}"
        print(f"{result.case:{width}}  {result.sparrow:10.4g}  {peer:>10}  {ratio:>6}  {mbu:>5}  {result.unit:5}  {result.peer}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Times Sparrow beside a peer; correctness first.")
    parser.add_argument("name", nargs="?")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--data", type=Path, default=knobs.data_folder(), help="folder of real data sets")
    parser.add_argument("--runs", type=int, default=7, help="samples a median is taken of")
    parser.add_argument("--json", type=Path, help="append the results to this file, a JSON line each")
    arguments = parser.parse_args()
    known = names()
    if arguments.name is None:
        for name, line in known.items():
            print(f"{name:24} {line}")
        return 0
    if arguments.name not in known:
        near = difflib.get_close_matches(arguments.name, known, n=1)
        print(f"error: no benchmark {arguments.name!r}" + (f"; did you mean {near[0]!r}?" if near else ""), file=sys.stderr)
        return 2
    options = Options(arguments.threads, arguments.device, arguments.data, arguments.runs)
    torch.set_num_threads(options.threads)
    results = list(importlib.import_module(f"benchmarks.{arguments.name.replace('/', '.')}").run(options))
    show(results)
    if arguments.json is not None:
        with arguments.json.open("a") as stream:
            stream.writelines(json.dumps(result.as_line(options)) + "\n" for result in results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
