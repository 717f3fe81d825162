"""Print the folder of the installed torch, found by path and not imported (an import costs seconds at every configure)."""

import importlib.util
import pathlib
import sys
import sysconfig


def candidates() -> list[pathlib.Path]:
    """Return where torch may lie. An isolated build hides installed packages from import, but its prefix is still the target's."""
    spec = importlib.util.find_spec("torch")
    found = [pathlib.Path(spec.origin).parent] if spec is not None and spec.origin is not None else []
    return found + [pathlib.Path(sysconfig.get_path(name)) / "torch" for name in ("platlib", "purelib")]


folders = [folder for folder in candidates() if (folder / "__init__.py").exists()]
if not folders:
    sys.exit("Sparrow compiles against the torch of this environment and found none: first `pip install -c constraints.txt torch`")
usable = [folder for folder in folders if (folder / "include" / "torch" / "csrc" / "stable" / "library.h").exists()]
if not usable:
    sys.exit(f"the torch in {folders[0]} has no stable-ABI headers; Sparrow needs torch >= 2.10")
print(usable[0])
