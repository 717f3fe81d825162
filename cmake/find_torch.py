"""Print the folder of the installed torch, found by path and not imported (an import costs seconds at every configure)."""

import importlib.util
import pathlib
import sys

spec = importlib.util.find_spec("torch")
if spec is None or spec.origin is None:
    sys.exit("Sparrow compiles against the torch of this environment and found none: first `pip install -c constraints.txt torch`")
folder = pathlib.Path(spec.origin).parent
if not (folder / "include" / "torch" / "csrc" / "stable" / "library.h").exists():
    sys.exit(f"the torch in {folder} has no stable-ABI headers; Sparrow needs torch >= 2.10")
print(folder)
