import pytest

from sparrow.synth import IdColumn, Interaction, NumericColumn, Shape, SynthSpec, generate

SMALL = Shape(
    numerics=(
        NumericColumn(name="i1", centre=1.0, spread=1.0, missing=0.3, slope=0.4, bend=0.4),
        NumericColumn(name="i2", centre=2.0, spread=0.5, slope=0.2),
    ),
    ids=(
        IdColumn(name="c1", cardinality=10, zipf=1.0, missing=0.2, effect=0.5),
        IdColumn(name="c2", cardinality=300, zipf=1.2, effect=0.8),
        IdColumn(name="c3", cardinality=1_000_000, zipf=1.1, missing=0.05, effect=0.5),
        IdColumn(name="m1", cardinality=50, zipf=0.8, max_length=3, effect=0.3),
        IdColumn(name="s1", cardinality=40, zipf=0.9, text=True, effect=0.3),
    ),
    interactions=(Interaction(left="c1", right="c2", effect=0.7, rank=2), Interaction(left="s1", right="c1", effect=0.5)),
)


@pytest.fixture(scope="session")
def small_spec():
    return SynthSpec(rows=20_000, eval_rows=8_000, seed=5, click_rate=0.3, rows_per_file=9_000, shape=SMALL)


@pytest.fixture(scope="session")
def small_data(small_spec, tmp_path_factory):
    """A generated data set, shared: never write into it."""
    return generate(tmp_path_factory.mktemp("synth") / "made", small_spec)
