"""Compile the operators for this processor into build/gpu, installing nothing, and print the library's path.

For a machine without a network: it needs torch, cmake and a C++20 compiler that are already there (ninja is used where it
is). A second call compiles only what changed. The environment variable SPARROW_OPS_LIBRARY then takes the path.
"""

import os
import pathlib
import shutil
import subprocess
import sys

import torch

ROOT = pathlib.Path(__file__).resolve().parents[1]
# What torch calls the processor's instruction set -> the library's; other processors have one.
LIBRARIES = {"AVX2": "avx2", "AVX512": "avx512"}


def cmake() -> list[str]:
    """Return the command of cmake: on the path, beside this Python, or a module of it."""
    beside = pathlib.Path(sys.executable).with_name("cmake")
    found = shutil.which("cmake") or (str(beside) if beside.exists() else None)
    if found is None:
        sys.exit(
            "error: no cmake: the C++ operators cannot be compiled; install cmake 3.25 or later (`pip install cmake`), and a C++20 compiler"
        )
    return [found]


def run(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, check=False)
    if done.returncode != 0:
        print(done.stdout[-4000:], file=sys.stderr)
        sys.exit(f"error: `{' '.join(command)}` failed, as it says above; it needs cmake 3.25, a C++20 compiler and torch 2.10 or later")


def main() -> None:
    if "ninja" not in os.environ.get("CMAKE_GENERATOR", "").lower() and shutil.which("ninja"):
        os.environ["CMAKE_GENERATOR"] = "Ninja"
    folder = ROOT / "build" / "gpu"
    name = f"sparrow_ops_{LIBRARIES.get(torch.backends.cpu.get_cpu_capability(), 'baseline')}"
    configure = ["-S", str(ROOT), "-B", str(folder), "-DCMAKE_BUILD_TYPE=Release", f"-DPython_EXECUTABLE={sys.executable}"]
    environment = dict(os.environ)
    print(f"compiling {name} (a minute or two the first time)", file=sys.stderr, flush=True)
    run([*cmake(), *configure], environment)
    run([*cmake(), "--build", str(folder), "--target", name, "-j", str(os.cpu_count() or 1)], environment)
    print(folder / f"lib{name}.so")


if __name__ == "__main__":
    main()
