"""The Python blocks of docs/features.md run as they stand, in their order: later ones use what earlier ones made, as a reader does."""

import re
from pathlib import Path

from sparrow.features.config import _METHODS
from sparrow.features.registry import _KNOWN

PAGE = Path(__file__).parents[2] / "docs" / "features.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


def test_blocks_run_in_order() -> None:
    assert len(BLOCKS) >= 12
    names: dict[str, object] = {"__name__": "features_page"}
    try:
        for index, block in enumerate(BLOCKS, start=1):
            exec(compile(block, f"{PAGE.name}, block {index}", "exec"), names)
    finally:
        for kind in ("power", "scaled"):  # what the page registers is the page's
            _KNOWN.pop(kind, None)


def test_every_transform_has_a_row_and_is_used() -> None:
    text = PAGE.read_text()
    rows = "\n".join(line for line in text.splitlines() if line.startswith("| `"))
    code = "\n".join(BLOCKS)
    for method in _METHODS:
        assert f"`{method}(" in rows, f"docs/features.md: no row of a table explains {method}"
        assert f".{method}(" in code, f"docs/features.md: no example uses {method}"
