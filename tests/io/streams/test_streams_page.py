"""docs/streams.md runs as it stands, with a broker behind its address and files in its folders."""

import inspect
import re
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest
from pyarrow import orc

from sparrow.io.streams import KafkaDataset, WatchedFolder
from streams_support import MockKafka, json_message

PAGE = Path(__file__).parents[3] / "docs" / "streams.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


def test_the_page_runs(kafka: MockKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fsspec.filesystem("memory").store.clear()
    rows = [{"label": float(number % 2), "ids": [number, 7], "title": f"title {number}", "tags": ["a", "b"]} for number in range(40)]
    kafka.produce("clicks", [(number % 4, json_message(row)) for number, row in enumerate(rows)])
    for folder in ("landing/ds=1/hour=05", "hourly/ds=1/hour=05"):
        Path(folder).mkdir(parents=True)
        table = pa.table({"label": [1.0, 0.0], "ids": pa.array([[1], [2, 3]], pa.list_(pa.int64()))})
        orc.write_table(table, f"{folder}/part-0.orc")
        Path(folder, "_SUCCESS").touch()
    names: dict[str, Any] = {"__name__": "streams_page"}
    assert len(BLOCKS) >= 8
    for number, block in enumerate(BLOCKS, 1):
        exec(compile(block.replace("broker-1:9092", kafka.servers), f"{PAGE.name}, block {number}", "exec"), names)
    assert (sum(names["sizes"]), names["rows"], names["summary"]["step"]) == (40, 2, 3)
    handed_out = sum(offset for state in names["states"] for _, offset, _ in state["positions"]["clicks"])
    assert 0 < handed_out == 40 - names["rest"]
    assert names["some"].counters == {"skipped": 0, "filtered_rows": 0, "stalled_seconds": 0.0, "unread_partitions": 0}


@pytest.mark.parametrize("kind", [KafkaDataset, WatchedFolder])
def test_the_page_shows_every_option(kind: type) -> None:
    code = "".join(BLOCKS)
    for name, parameter in inspect.signature(kind).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            assert f"{name}=" in code, name
