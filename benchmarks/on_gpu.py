"""Every benchmark of a GPU on this machine: `make bench-gpu`. Needs torch, triton, cmake and a compiler; installs nothing.

Results: build/gpu/results.jsonl (appended), build/gpu/operators.svg, tables on standard output. Exit code 1: a goal was missed, or an
operator failed; 2: there is no GPU.
"""

import os
import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "build" / "gpu"
# With compiling, within eight minutes: what has not begun after so many seconds is left out, and named.
SECONDS_OF_OPERATORS, SECONDS_OF_TILES, SECONDS_IN_ALL = 210, 45, 470


def main() -> int:
    if not torch.cuda.is_available():
        built = "" if torch.version.cuda or torch.version.hip else ", which was built for the CPU alone"
        print(f"error: torch {torch.__version__}{built}, finds no CUDA device: there is nothing to measure", file=sys.stderr)
        return 2
    paths = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": paths}
    if "SPARROW_OPS_LIBRARY" not in environment:
        built = subprocess.run([sys.executable, str(ROOT / "cmake" / "build_library.py")], stdout=subprocess.PIPE, text=True, check=False)
        if built.returncode != 0:
            return built.returncode
        environment["SPARROW_OPS_LIBRARY"] = built.stdout.strip()
    OUTPUT.mkdir(parents=True, exist_ok=True)
    threads = str(min(16, os.cpu_count() or 1))  # of what makes inputs
    shared = ["--device", "cuda", "--runs", "15", "--threads", threads, "--json", str(OUTPUT / "results.jsonl")]
    # The step first: it is short, and what the operators are for. Tiles last: what they find is for the next run.
    commands = [
        ["device_step", *shared],
        ["operators", *shared, "--svg", str(OUTPUT / "operators.svg"), "--seconds", str(SECONDS_OF_OPERATORS)],
        ["tiles", *shared, "--seconds", str(SECONDS_OF_TILES)],
    ]
    codes = []
    for command in commands:
        print(f"python -m benchmarks {' '.join(command)}", flush=True)
        run = [sys.executable, "-m", "benchmarks", *command]
        try:
            codes.append(subprocess.run(run, cwd=ROOT, env=environment, timeout=SECONDS_IN_ALL, check=False).returncode)
        except subprocess.TimeoutExpired:
            print(f"error: {command[0]} took more than {SECONDS_IN_ALL} s and was ended", file=sys.stderr)
            codes.append(1)
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
