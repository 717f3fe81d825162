"""Plans as files: the same features in another process, bit for bit; what is damaged or unknown is named."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from features.running import equal_bits
from features.test_plan import batch_of, wide
from sparrow.errors import ConfigError
from sparrow.features import Context, Feature, FeatureEngine, FeatureType, register_transform
from sparrow.types import Batch, Column, Ragged
from tests_support import run_python


def everything() -> list[Feature]:
    """Features with every transform that a file may hold."""
    x, s, m = Feature("x").select("n0"), Feature("s").select("s0"), Feature("m").select("l0")
    return [
        *wide(2),
        Feature("inf").select("n1").fill(1.5).bucketize([-float("inf"), 0.1, float("inf")]),
        Feature("scaled").select("n1").fill(0).finite("replace", 2.0).log().min_max(-1, 3).cast("float64"),
        Feature("words").select("s0").vocabulary(["word 0 1", "w\N{LATIN SMALL LETTER O WITH DIAERESIS}rd", ""], oov_buckets=5),
        Feature("known").select("l0").vocabulary([3, -4, 2**62], missing=9),
        *s.hash("xxh64", non_negative=True).multi_hash([10, 20]),
        *Feature("qr").select("l1").quotient_remainder(7),
        Feature("padded").select("l0").pad(3, value=-1, side="left", keep="tail"),
        Feature("mask").select("l0").mask(3),
        Feature("unique").select("l0").unique(),
        Feature("length").select("l1").length(),
        Feature("joined").select("l0").concat("l0"),
        Feature("found").select("l0").lookup("l1", "l1", default=-1),
        Feature("match").select("l0").match("l1"),
        Feature("overlap").select("l0").overlap(m.truncate(1), "jaccard"),
        Feature("ago").select("l0").time_difference(Feature("first").select("l0").length()),
        x.log1p(),
    ]


_LOADS = """
import sys, torch
from features.test_plan import batch_of
from sparrow.features import FeatureEngine
out = FeatureEngine.load(sys.stdin.read())(batch_of(2))
columns = {name: out[name] if isinstance(out[name], torch.Tensor) else (out[name].values, *out[name].offsets) for name in out}
torch.save(columns, sys.stdin.read() or PATH)
"""


def test_a_plan_gives_equal_bits_in_a_fresh_process(tmp_path: Path) -> None:
    engine = FeatureEngine(everything())
    engine.save(tmp_path / "features.json")
    out = engine(batch_of(2))
    code = _LOADS.replace("PATH", repr(str(tmp_path / "out.pt")))
    run_python(code, stdin=str(tmp_path / "features.json"), PYTHONPATH=str(Path(__file__).parents[1]))
    loaded = torch.load(tmp_path / "out.pt")
    assert list(loaded) == list(out)
    for name in out:
        column = out[name]
        mine = (column,) if isinstance(column, torch.Tensor) else (column.values, *column.offsets)
        theirs = (loaded[name],) if isinstance(loaded[name], torch.Tensor) else loaded[name]
        assert len(mine) == len(theirs)
        assert all(map(equal_bits, mine, theirs)), name


def test_a_loaded_plan_is_the_saved_one(tmp_path: Path) -> None:
    features = everything()
    FeatureEngine(features).save(tmp_path / "f.json")
    loaded = FeatureEngine.load(tmp_path / "f.json")
    assert loaded.features == features
    assert loaded.plan == FeatureEngine(features).plan
    assert [feature.output for feature in loaded.features] == [feature.output for feature in features]
    assert [path.name for path in tmp_path.iterdir()] == ["f.json"], "nothing else is left"
    data = json.loads((tmp_path / "f.json").read_text())
    assert [(call["depth"], call["kind"]) for call in data["calls"]] == [(node.depth, node.kind) for node in loaded.plan.nodes]


@register_transform
@dataclass(frozen=True)
class PlusOne:
    """A custom transform that files may hold."""

    by: int = 1
    kind: ClassVar[str] = "plus_one_of_test"

    def output_type(self, given: FeatureType) -> FeatureType:
        return given

    def apply(self, column: Column, context: Context) -> Column:
        return column + self.by if isinstance(column, torch.Tensor) else column.with_values(column.values + self.by)


@dataclass(frozen=True)
class Unregistered(PlusOne):
    kind: ClassVar[str] = "unregistered_of_test"


def test_custom_transforms_are_saved_where_they_are_registered(tmp_path: Path) -> None:
    FeatureEngine([Feature("f").select("x").then(PlusOne(3)).mod(100)]).save(tmp_path / "f.json")
    column = Ragged(torch.tensor([4, 5]), (torch.tensor([0, 2]),))
    assert FeatureEngine.load(tmp_path / "f.json")(Batch.of({"x": column}))["f"].values.tolist() == [7, 8]  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="'unregistered_of_test' cannot be saved: Unregistered is not registered"):
        FeatureEngine([Feature("f").select("x").then(Unregistered())]).save(tmp_path / "g.json")
    assert not (tmp_path / "g.json").exists()

    @dataclass(frozen=True)
    class Taken(PlusOne):
        kind: ClassVar[str] = "mod"

    with pytest.raises(ConfigError, match="'mod' is taken"):
        register_transform(Taken)


def _edited(**changes: Any) -> dict[str, Any]:
    from sparrow.features.plan_file import _checksum, to_json

    data = {**to_json([Feature("f").select("x").mod(7)]), **changes}
    body = {key: data[key] for key in ("format", "version", "expressions", "features")}
    return {**data, "checksum": _checksum(body)}


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ("", "is damaged"),
        ("[]", "holds no features"),
        ('{"format": "other"}', "holds no features"),
        (json.dumps(_edited(version=2)), "is of version 2, this Sparrow reads version 1"),
        (json.dumps({**_edited(), "features": []}), "checksum"),
        (json.dumps(_edited(features=[{"name": "f", "expression": 5}])), "is damaged"),
        (json.dumps(_edited(expressions=[{"column": "x"}, {"transform": "modd", "arguments": {}, "inputs": [0]}])), "did you mean 'mod'"),
        (
            json.dumps(_edited(expressions=[{"column": "x"}, {"transform": "mod", "arguments": {}, "inputs": [0]}])),
            r"expected \['divisor'\]",
        ),
        (
            json.dumps(_edited(expressions=[{"column": "x"}, {"transform": "mod", "arguments": {"divisor": 0}, "inputs": [0]}])),
            "at least 1",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path: Path, data: str, named: str) -> None:
    path = tmp_path / "features.json"
    path.write_text(data)
    with pytest.raises(ConfigError, match=f"features.json: .*{named}") as raised:
        FeatureEngine.load(path)
    assert "\n" not in str(raised.value)


def test_every_truncation_of_a_file_is_refused(tmp_path: Path) -> None:
    FeatureEngine(wide(1)).save(tmp_path / "f.json")
    text = (tmp_path / "f.json").read_text()
    for size in range(0, len(text) - 2, 37):
        (tmp_path / "f.json").write_text(text[:size])
        with pytest.raises(ConfigError, match=r"f\.json"):
            FeatureEngine.load(tmp_path / "f.json")


def test_a_file_that_is_absent_or_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent.json: cannot be read: No such file"):
        FeatureEngine.load(tmp_path / "absent.json")
    with pytest.raises(ConfigError, match=r"nowhere/f.json: cannot be written: No such file"):
        FeatureEngine(wide(1)).save(tmp_path / "nowhere" / "f.json")
