"""The golden vectors of docs/table-format.md: what is frozen, checked on the reference and on the compiled operators."""

import json
import re
from pathlib import Path

import pytest
import torch

from sparrow.ops import id_map
from sparrow.ops.find_or_insert import reference as insert_reference
from sparrow.ops.find_or_insert.op import find_or_insert_
from sparrow.ops.init_rows import reference as init_reference
from sparrow.ops.init_rows.op import init_rows_
from sparrow.tables import TableOptions
from sparrow.tables.options import stable_seed

PAGE = (Path(__file__).parents[2] / "docs" / "table-format.md").read_text()
GOLDEN = json.loads(re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)[1])  # type: ignore[index]


def test_mix() -> None:
    for id, salt, mixed in GOLDEN["mix"]:
        assert int(id_map.mix(torch.tensor(id), salt)) & (2**64 - 1) == int(mixed, 16)


def test_home() -> None:
    for case in GOLDEN["home"]:
        header = id_map.make_headers([case["salt"]], [case["range_bits"]])[0]
        header[id_map.HEADER_FIRST_SLICE], header[id_map.HEADER_SLICE_SCALE] = case["first_slice"], case["slice_scale"]
        mixed = id_map.mix(torch.tensor(case["id"]), case["salt"])
        fraction = id_map.fraction_of(mixed, header)
        assert int(fraction) == case["fraction"]
        assert int(id_map.range_of(fraction, case["range_bits"])) == case["range"]
        assert int(id_map.home_line(fraction, case["range_bits"], case["num_lines"])) == case["home_line"]
        assert 1 + (int(mixed) & (id_map.JUMP_LINES - 1)) == case["jump"]


@pytest.mark.parametrize("body", [insert_reference.find_or_insert_, find_or_insert_], ids=["reference", "cpu"])
def test_map(body) -> None:
    golden = GOLDEN["map"]
    headers, ranges = id_map.make_headers([golden["salt"]], [0]), torch.tensor([[0, golden["num_lines"], 0, 0]])
    lines = torch.full((golden["num_lines"], 8), id_map.EMPTY)
    ids = torch.tensor(golden["inserted"])
    rows, _, _ = body(lines, headers, ranges, *id_map.empty_rows(), ids, torch.tensor([0, ids.numel()]))
    assert rows.tolist() == list(range(ids.numel()))
    assert [line.numpy().astype("<i8").tobytes().hex() for line in lines] == golden["lines"]
    assert headers[0].tolist() == golden["header"]
    assert ranges[0].tolist() == golden["range"]


def test_first_values() -> None:
    for seed, id, column, values in GOLDEN["first_values"]:
        for kind, value in enumerate(values, start=1):
            assert init_reference.initial_value(seed, id, column, kind, 0.0, 1.0).hex() == value
            weights = torch.zeros(1, column + 1, dtype=torch.float64)
            one = torch.zeros(1, dtype=torch.int32)
            init_rows_(
                [weights], [], [], torch.zeros(1, dtype=torch.int64), torch.zeros(1, 4, dtype=torch.int32), one, torch.tensor([id]),
                torch.tensor([0, 1]), one, torch.tensor([1]), torch.tensor([seed]), kind, torch.tensor([[0.0, 1.0]], dtype=torch.float64),
                torch.zeros(1, 0, dtype=torch.float64),
            )  # fmt: skip
            assert float(weights[0, column]).hex() == value


def test_seeds() -> None:
    for seed, name, of_table, salt in GOLDEN["seeds"]:
        assert stable_seed("table", seed, name) == of_table
        assert TableOptions(name=name, dim=1, seed=of_table).salt == salt
