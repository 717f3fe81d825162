"""The rows: reproducible to the bit, whatever the files; distributed as their columns say."""

import dataclasses
import math

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import orc
from scipy import stats

from sparrow.synth import CRITEO_SHAPE, IdColumn, NumericColumn, Shape, SynthSpec, generate
from sparrow.synth.draws import bell, mix, zipf_ranks, zipf_shares
from sparrow.synth.rows import ids_of_ranks

ROWS = 20_000


def read(folder):
    return pa.concat_tables(orc.ORCFile(path).read() for path in sorted(folder.glob("*.orc")))


def flat(table, column):
    return table[column].combine_chunks().flatten().to_numpy()


def same_bits(left, right):
    """Equal as lists, and their numbers equal bit for bit (a NaN or a negative zero would not pass unseen)."""
    assert left.schema == right.schema
    for name in left.column_names:
        assert left[name].to_pylist() == right[name].to_pylist(), name
        if left[name].type == pa.list_(pa.float64()):
            assert flat(left, name).tobytes() == flat(right, name).tobytes(), name


@pytest.mark.parametrize("rows_per_file", [777, 16_384, 1_000_000])
def test_rows_do_not_depend_on_the_files(tmp_path, small_spec, rows_per_file):
    spec = dataclasses.replace(small_spec, rows=17_000, eval_rows=500)
    first = generate(tmp_path / "first", dataclasses.replace(spec, rows_per_file=9_000))
    second = generate(tmp_path / "second", dataclasses.replace(spec, rows_per_file=rows_per_file))
    sizes = [orc.ORCFile(path).nrows for path in sorted(second.train_folder.glob("*.orc"))]
    assert sizes == [rows_per_file] * (17_000 // rows_per_file) + [17_000 % rows_per_file]
    same_bits(read(first.train_folder), read(second.train_folder))
    same_bits(read(first.eval_folder), read(second.eval_folder))
    assert (first.bayes_auc, first.learnable_auc) == (second.bayes_auc, second.learnable_auc)


def test_two_runs_write_the_same_bytes(tmp_path, small_spec, small_data):
    again = generate(tmp_path / "again", small_spec)
    for path in sorted(small_data.folder.rglob("*.orc")):
        assert path.read_bytes() == (again.folder / path.relative_to(small_data.folder)).read_bytes(), path


def test_a_longer_data_set_begins_with_the_shorter(tmp_path, small_spec, small_data):
    longer = generate(tmp_path / "longer", dataclasses.replace(small_spec, rows=ROWS + 3_000))
    same_bits(read(longer.train_folder).slice(0, ROWS), read(small_data.train_folder))
    same_bits(read(longer.eval_folder), read(small_data.eval_folder))


def test_another_seed_gives_other_ids_and_rows(tmp_path, small_spec, small_data):
    other = read(generate(tmp_path / "other", dataclasses.replace(small_spec, seed=6)).train_folder)
    mine = read(small_data.train_folder)
    for name in ("c1", "c2", "c3", "m1"):
        assert not set(flat(other, name)) & set(flat(mine, name)), name
    assert flat(other, "i2").tolist() != flat(mine, "i2").tolist()


def test_training_and_evaluation_rows_differ(small_data):
    train, evaluation = read(small_data.train_folder), read(small_data.eval_folder)
    assert train.slice(0, 50)["c2"].to_pylist() != evaluation.slice(0, 50)["c2"].to_pylist()


def test_the_default_shape_is_criteos(tmp_path):
    report = generate(tmp_path / "criteo", SynthSpec(rows=3_000, eval_rows=500))
    schema = orc.ORCFile(next(report.train_folder.glob("*.orc"))).schema
    floats, ids = pa.list_(pa.float64()), pa.list_(pa.int64())
    assert {field.name: field.type for field in schema} == {
        "label": floats,
        **{f"i{k}": floats for k in range(1, 14)},
        **{f"c{k}": ids for k in range(1, 27)},
        **{f"m{k}": ids for k in range(1, 4)},
        "s1": pa.string(),
    }
    cardinalities = sorted(column.cardinality for column in CRITEO_SHAPE.ids)
    assert cardinalities[0] <= 20
    assert cardinalities[-1] >= 1_000_000
    all_ids = np.concatenate([flat(read(report.train_folder), f"c{k}") for k in range(1, 27)])
    assert all_ids.min() < -(2**62)
    assert all_ids.max() > 2**62


def test_missing_rates(small_data, small_spec):
    table = read(small_data.train_folder)
    for column in (*small_spec.columns.numerics, *small_spec.columns.ids):
        if isinstance(column, IdColumn) and (column.max_length > 1 or column.text):
            continue
        empty = int((pa.compute.list_value_length(table[column.name]).to_numpy() == 0).sum())
        # A binomial leaves six deviations once in 10**9 runs; the seed is fixed, so this never flakes.
        assert abs(empty - ROWS * column.missing) <= 6 * math.sqrt(ROWS * column.missing * (1 - column.missing)), column.name


def test_lists_of_several_ids_have_all_lengths_equally_often(small_data):
    lengths = pa.compute.list_value_length(read(small_data.train_folder)["m1"]).to_numpy()
    assert stats.chisquare(np.bincount(lengths, minlength=4)).pvalue > 1e-6


def test_strings_are_ids_in_hexadecimal(small_data, small_spec):
    texts = set(read(small_data.train_folder)["s1"].to_pylist())
    ids = ids_of_ranks(small_spec.seed, "s1", np.arange(40))
    assert texts == {f"v-{int(number) % 2**64:016x}" for number in ids}


def test_popularity_follows_the_power_law(small_data, small_spec):
    table = read(small_data.train_folder)
    for name, cardinality, zipf in (("c1", 10, 1.0), ("c2", 300, 1.2), ("c3", 1_000_000, 1.1), ("m1", 50, 0.8)):
        rank_of = {int(number): rank for rank, number in enumerate(ids_of_ranks(small_spec.seed, name, np.arange(cardinality)))}
        ranks = np.array([rank_of[int(number)] for number in flat(table, name)])
        head = min(cardinality, 200)
        counts = np.append(np.bincount(ranks, minlength=head)[:head], (ranks >= head).sum())
        shares = np.array([_share(rank, cardinality, zipf) for rank in range(head)])
        expected = np.append(shares, max(0.0, 1 - shares.sum())) * len(ranks)
        assert (
            stats.chisquare(counts[expected > 5], expected[expected > 5] * counts[expected > 5].sum() / expected[expected > 5].sum()).pvalue
            > 1e-6
        )


def _share(rank, cardinality, zipf):
    """Mass of [rank + 1, rank + 2) under the density x ** -zipf on [1, cardinality + 1)."""
    if zipf == 1:
        return math.log((rank + 2) / (rank + 1)) / math.log(cardinality + 1)
    return ((rank + 2) ** (1 - zipf) - (rank + 1) ** (1 - zipf)) / ((cardinality + 1) ** (1 - zipf) - 1)


@pytest.mark.parametrize("zipf", [0.0, 0.5, 1.0, 1.3, 4.0])
def test_ranks_stay_in_range_and_shares_add_to_one(zipf):
    ends = np.array([0, 1, 2**63, 2**64 - 1], dtype=np.uint64)
    for cardinality in (2, 1_000, 2**26):
        ranks = zipf_ranks(ends, cardinality, zipf)
        assert ranks[0] == 0
        assert ranks.max() < cardinality
    assert zipf_shares(1_000, zipf, 1_000).sum() == pytest.approx(1, rel=1e-12)


def test_ids_of_a_column_never_collide():
    assert len(np.unique(ids_of_ranks(3, "c1", np.arange(1_000_000)))) == 1_000_000


def test_bell_numbers_have_mean_0_and_variance_1():
    drawn = bell(mix(np.arange(1_000_000, dtype=np.uint64), np.uint64(12345)))
    assert abs(drawn.mean()) < 6e-3
    assert abs(drawn.var() - 1) < 1e-2
    assert abs(drawn).max() <= math.sqrt(12)


def test_numerics_are_whole_numbers(tmp_path):
    shape = Shape(
        numerics=(NumericColumn(name="i1", centre=1.0, spread=1.5),), ids=(IdColumn(name="c1", cardinality=5, zipf=1.0, effect=1.0),)
    )
    values = flat(read(generate(tmp_path / "made", SynthSpec(rows=5_000, shape=shape)).train_folder), "i1")
    assert (values == np.floor(values)).all()
    assert values.min() == 0
    # The median of exp(1 + 1.5 z) is e, floored 2.
    assert np.median(values) == 2
