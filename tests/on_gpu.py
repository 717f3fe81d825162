"""Every check of Triton bodies on this machine's GPU: `make test-gpu`. Needs torch, triton and pytest; installs nothing.

    python tests/on_gpu.py [pytest's arguments]

Runs the tests marked `gpu` of the modules that run Triton bodies. SPARROW_REQUIRE_CUDA=0 runs them without a GPU too, in
Triton's interpreter. Where hypothesis is absent its tests are skipped, and say so.
"""

import importlib.util
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Only these run bodies on a device; other modules need packages that may be absent, and need not even be read.
SUPPORT = re.compile(r"^from triton_support import|^@pytest\.mark\.gpu$|^pytestmark = pytest\.mark\.gpu$", re.MULTILINE)
NEEDED = {"torch": "2.10", "triton": "3.6", "pytest": "8"}


def missing() -> str:
    """Return what keeps the checks from running; empty where nothing does."""
    absent = [f"{name} >= {least}" for name, least in NEEDED.items() if importlib.util.find_spec(name) is None]
    if absent:
        return f"needs {', '.join(absent)} in {sys.executable}, which has none; run it by a Python that has: make test-gpu PYTHON=..."
    import torch

    if os.environ.get("SPARROW_REQUIRE_CUDA") != "0" and not torch.cuda.is_available():
        built = "" if torch.version.cuda or torch.version.hip else ", which was built for the CPU alone"
        return (
            f"torch {torch.__version__}{built}, finds no CUDA device, so nothing would be checked on one; "
            "SPARROW_REQUIRE_CUDA=0 runs the same tests in Triton's interpreter"
        )
    return ""


def modules() -> list[str]:
    """Return the test modules that run bodies on a device."""
    return [str(path) for path in sorted((ROOT / "tests").rglob("test_*.py")) if SUPPORT.search(path.read_text())]


def main() -> int:
    if problem := missing():
        print(f"error: {problem}", file=sys.stderr)
        return 2
    required = os.environ.get("SPARROW_REQUIRE_CUDA", "1")
    # Before the rest, so that processes of tests see it too.
    stand_in = "" if importlib.util.find_spec("hypothesis") else str(ROOT / "tests" / "without_hypothesis")
    paths = os.pathsep.join(filter(None, [stand_in, str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": paths, "SPARROW_REQUIRE_CUDA": required}
    if "SPARROW_OPS_LIBRARY" not in environment:
        built = subprocess.run([sys.executable, str(ROOT / "cmake" / "build_library.py")], stdout=subprocess.PIPE, text=True, check=False)
        if built.returncode != 0:
            return built.returncode
        environment["SPARROW_OPS_LIBRARY"] = built.stdout.strip()
    # Poisoned outputs make torch warn of sums it adds in any order, and warnings are errors.
    quiet = ["-W", "ignore:.*does not have a deterministic implementation:UserWarning"]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu and not nightly", "-p", "no:cacheprovider", *quiet, *sys.argv[1:]]
    return in_parts([[*command, *part] for part in parts(modules(), processes())], environment)


def processes() -> int:
    """Return how many processes share the GPU: compiling kernels takes most of the time, and a core."""
    return max(1, min(4, (os.cpu_count() or 1) // 4))


def parts(found: list[str], count: int) -> list[list[str]]:
    """Deal modules to as many processes, neighbours to different ones: those of a folder take about as long."""
    return [part for part in (found[number::count] for number in range(count)) if part]


def in_parts(commands: list[list[str]], environment: dict[str, str]) -> int:
    """Run commands at once and print what each said when it has ended; one alone prints as it goes. Return 0 or a failure."""
    if len(commands) == 1:
        return subprocess.run(commands[0], cwd=ROOT, env=environment, check=False).returncode
    print(f"{len(commands)} processes share the tests; each prints when it has ended", flush=True)
    begun = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for command in commands
    ]
    codes = []
    with ThreadPoolExecutor(len(begun)) as readers:
        for process, printed in [(one, readers.submit(one.communicate)) for one in begun]:
            print(printed.result()[0], flush=True)
            codes.append(process.returncode)
    # 5: no test of that part is asked for, as by -k.
    failed = [code for code in codes if code not in (0, 5)]
    return failed[0] if failed else min(codes)


if __name__ == "__main__":
    sys.exit(main())
