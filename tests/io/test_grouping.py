"""Columns that samples share: found in flat rows, read from files of requests, and the same to a model."""

import itertools
import struct

import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from sparrow.errors import ConfigError, DataError
from sparrow.features import Feature
from sparrow.io import Dataset, Requests, SharedRows
from sparrow.models import DeepFM, LogisticRegression
from sparrow.types import ColumnSpec, Ragged


def _plain(column):
    """Return the rows of a column as Python values, strings as bytes."""
    if isinstance(column, torch.Tensor):
        return column.tolist()
    elements = column.values.tolist() if column.weights is None else list(zip(column.values.tolist(), column.weights.tolist(), strict=True))
    for level, offsets in reversed(list(enumerate(column.offsets))):
        elements = [elements[begin:end] for begin, end in itertools.pairwise(offsets.tolist())]
        if column.is_bytes and level == len(column.offsets) - 1:
            elements = [bytes(element) for element in elements]
    return elements


def _joined(batch, name):
    group = batch.group_of(name)
    rows = _plain(group.columns[name].check(name) if isinstance(group.columns[name], Ragged) else group.columns[name])
    assert len(rows) == group.num_rows
    return rows if group.sample_to_row is None else [rows[row] for row in group.sample_to_row.tolist()]


_USERS = st.lists(st.integers(0, 4), min_size=1, max_size=25)
_KEYS = {
    "int": lambda user: user * 7,
    "float": lambda user: user / 3,
    "string": lambda user: "u" * user,
    "list": lambda user: [user] * user,
}
_TYPES = {"int": pa.int64(), "float": pa.float64(), "string": pa.string(), "list": pa.list_(pa.int64())}


@settings(max_examples=80, deadline=None)
@given(_USERS, st.sampled_from(list(_KEYS)), st.sampled_from(["runs", "key"]), st.integers(1, 30))
def test_joining_gives_back_the_flat_rows(tmp_path_factory, users, key, by, batch_size):
    path = tmp_path_factory.mktemp("group") / "0.parquet"
    table = pa.table({
        "x": list(range(len(users))),
        "user": pa.array(map(_KEYS[key], users), _TYPES[key]),
        "age": [float("nan") if user == 2 else float(user) for user in users],
        "history": pa.array([[user * 10 + place for place in range(user)] for user in users], pa.list_(pa.int64())),
        "words": pa.array([["w" * place for place in range(user)] for user in users], pa.list_(pa.string())),
        "tags": pa.array([[(place, user + 0.5) for place in range(user)] for user in users], pa.map_(pa.int64(), pa.float32())),
    })  # fmt: skip
    parquet.write_table(table, path, row_group_size=6)
    shared = ["user", "age", "history", "words", "tags"]
    names = ["x", *shared]
    flat = list(Dataset(path, names, batch_size=batch_size))
    grouped = list(Dataset(path, names, batch_size=batch_size, groups=[SharedRows("user", shared, key="user", by=by)]))
    assert len(flat) == len(grouped)
    begin = 0
    for one, other in zip(flat, grouped, strict=True):
        assert other.num_samples == one.num_samples
        for name in names:
            # repr, since NaN is not equal to itself.
            assert repr(_joined(other, name)) == repr(_plain(one[name])), name
        here = users[begin : begin + one.num_samples]
        begin += one.num_samples
        runs = [user for user, _ in itertools.groupby(here)]
        assert other.groups["user"].num_rows == (len(runs) if by == "runs" else len(set(here)))
        assert [other.locate(sample) for sample in range(len(here))] == [one.locate(sample) for sample in range(len(here))]


def test_rows_of_one_user_that_differ_are_named(tmp_path):
    nan = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000001))[0]
    table = pa.table({"user": [1, 1, 2, 1], "age": [30, 30, 40, 31], "h": [[1], [1], [2], [1]], "f": [float("nan"), nan, 1.0, 1.0]})
    parquet.write_table(table, tmp_path / "0.parquet")

    def read(*columns, **options):
        shared = SharedRows("user", columns, key="user", **options)
        (batch,) = Dataset(tmp_path, ["user", "age", "h", "f"], batch_size=9, groups=[shared])
        return batch

    assert read("age").groups["user"].num_rows == 3
    with pytest.raises(
        DataError, match=r"row 3: column 'age' differs from that of .*row 0, though column 'user' is the same; .*check=False"
    ):
        read("h", "age", by="key")
    with pytest.raises(DataError, match=r"row 1: column 'f' differs"):
        read("f")
    assert read("age", by="key", check=False)["age"].tolist() == [30, 40]
    assert read("h", by="key").groups["user"].sample_to_row.tolist() == [0, 0, 1, 0]


def test_groups_that_make_no_sense_are_refused(tmp_path):
    parquet.write_table(pa.table({"user": [1], "age": [1], "ll": [[[1]]]}), tmp_path / "0.parquet")

    def read(*groups):
        return list(Dataset(tmp_path, ["user", "age", "ll"], batch_size=9, groups=groups))

    for groups, message in (
        ([SharedRows("u", ["agee"], key="user")], "names column 'agee', which is not read; did you mean 'age'"),
        ([SharedRows("u", ["age"], key="usr")], "names column 'usr'"),
        ([SharedRows("u", ["age"], key="user"), SharedRows("v", ["age"], key="user")], "column 'age' cannot be in two groups, 'u' and 'v'"),
        ([SharedRows("u", ["age"], key="user"), SharedRows("u", ["ll"], key="user")], "two groups have one name"),
        ([SharedRows("u", ["age"], key="ll")], "a key of lists of lists"),
        (["user"], "groups holds 'user'"),
    ):
        with pytest.raises(ConfigError, match=message):
            read(*groups)
    for arguments in (("sample", ["age"], "user"), ("", ["age"], "user"), ("u", "age", "user"), ("u", [], "user")):
        with pytest.raises(ConfigError, match="SharedRows"):
            SharedRows(*arguments)
    with pytest.raises(ConfigError, match="by is 'run'"):
        SharedRows("u", ["age"], key="user", by="run")


@st.composite
def _requests(draw):
    """Rows of requests as Python: samples, users of each, and which user each sample is of."""
    rows = []
    for _ in range(draw(st.integers(1, 6))):
        num_users = draw(st.integers(0, 3))
        users = draw(st.lists(st.lists(st.integers(0, 99), max_size=4), min_size=num_users, max_size=num_users))
        indicators = draw(st.lists(st.integers(-1, num_users - 1), max_size=6))
        rows.append((users, indicators))
    return rows


@settings(max_examples=80, deadline=None)
@given(_requests(), st.integers(1, 4))
def test_requests_are_opened_into_samples(tmp_path_factory, requests, batch_size):
    path = tmp_path_factory.mktemp("requests") / "0.parquet"
    own_labels = [[float(row + place) for place, _ in enumerate(own)] for row, (_, own) in enumerate(requests)]
    table = pa.table({
        "label_0": pa.array(own_labels, pa.list_(pa.float32())),
        "hist_1": pa.array([users for users, _ in requests], pa.list_(pa.list_(pa.int64()))),
        "age_1": pa.array([[len(user) + 1 for user in users] for users, _ in requests], pa.list_(pa.int64())),
        "_indicator_1": pa.array([own for _, own in requests], pa.list_(pa.int64())),
    })  # fmt: skip
    parquet.write_table(table, path, row_group_size=2)
    labels, hists, ages, places = [], [], [], []
    for batch in Dataset(path, ["label_0", "hist_1", "age_1"], batch_size=batch_size, groups=Requests({1: "user"})):
        labels += _joined(batch, "label")
        hists += _joined(batch, "hist")
        ages += _joined(batch, "age")
        places += [batch.locate(sample) for sample in range(batch.num_samples)]
        assert batch.group_of("hist") is batch.groups["user"]
    expected = [(row, place, users, one) for row, (users, own) in enumerate(requests) for place, one in enumerate(own)]
    assert labels == [float(row + place) for row, place, _, _ in expected]
    assert hists == [users[one] if one >= 0 else [] for _, _, users, one in expected]
    assert ages == [len(users[one]) + 1 if one >= 0 else 0 for _, _, users, one in expected]
    assert places == [f"{path}, row {row}" for row, *_ in expected]


def _one_request(tmp_path, **columns):
    table = {"label_0": [[0.0, 1.0]], "hist_1": [[[1], [2, 3]]], "age_1": [[5, 6]], "_indicator_1": [[1, 0]], **columns}
    parquet.write_table(pa.table({name: value for name, value in table.items() if value is not None}), tmp_path / "0.parquet")
    names = [name for name in table if name != "_indicator_1" and table[name] is not None]
    return list(Dataset(tmp_path, names, batch_size=3, groups=Requests()))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"_indicator_1": [[1, 2]]}, "0.parquet, row 0: column '_indicator_1' says row 2, but there are 2"),
        ({"_indicator_1": [[1]]}, "row 0: column '_indicator_1' lists 1 values, expected 2 as there are samples"),
        ({"age_1": [[5]]}, "row 0: column 'age_1' lists 1 values, expected 2 as column 'hist_1'"),
        ({"_indicator_1": None}, "no column '_indicator_1'"),
        ({"_indicator_1": [[1.5, 0.0]]}, "column '_indicator_1' must list whole numbers"),
        ({"label_0": [1.0]}, "column 'label_0' is no list"),
    ],
)
def test_requests_that_make_no_sense_are_named(tmp_path, columns, message):
    with pytest.raises(DataError, match=message):
        _one_request(tmp_path, **columns)


def test_columns_of_requests_need_a_number_and_distinct_names(tmp_path):
    with pytest.raises(ConfigError, match=r"column 'x': .* such as x_0"):
        _one_request(tmp_path, x=[[1, 2]])
    with pytest.raises(ConfigError, match="column 'age' is in two groups"):
        _one_request(tmp_path, age_0=[[1, 2]])
    for arguments in (({0: "u"},), ({1: "sample"},), ({}, "skip")):
        with pytest.raises(ConfigError, match="Requests: "):
            Requests(*arguments)
    parquet.write_table(pa.table({"label_0": [[0.0]], "age_1": [[5]], "_indicator_1": [[-1]]}), tmp_path / "0.parquet")
    with pytest.raises(DataError, match=r"says row -1, but there are 1; .*missing"):
        list(Dataset(tmp_path, ["label_0", "age_1"], batch_size=3, groups=Requests(missing="error")))


@pytest.mark.parametrize("model", [DeepFM, LogisticRegression])
def test_a_model_trains_alike_on_flat_and_on_shared_rows(tmp_path, model):
    """Logits and losses are equal; what is updated once a user sums its samples' gradients in another order, so weights are close."""
    generator = torch.Generator().manual_seed(4)
    users = torch.randint(0, 6, (200,), generator=generator).sort().values.tolist()
    table = pa.table({
        "label": torch.randint(0, 2, (200,), generator=generator).float().tolist(),
        "user": users,
        "age": [float(user) for user in users],
        "history": pa.array([[user * 10 + place for place in range(user)] for user in users], pa.list_(pa.int64())),
        "item": torch.randint(0, 50, (200,), generator=generator).tolist(),
    })  # fmt: skip
    parquet.write_table(table, tmp_path / "0.parquet")
    features = [
        Feature("item").select("item"),
        Feature("history").select("history"),
        Feature("age").select("age"),
        Feature("user").select("user"),
    ]
    columns = [ColumnSpec("label"), "user", ColumnSpec("age", dtype=torch.float32), "history", "item"]
    losses = []
    for groups in (None, [SharedRows("user", ["user", "age", "history"], key="user")]):
        torch.manual_seed(0)
        options = {} if model is LogisticRegression else {"dim": 4, "hidden": (8,)}
        net = model(features, dense=["age"], sparse=["history", "item", "user"], **options)
        optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
        losses.append([])
        for batch in Dataset(tmp_path, columns, batch_size=50, groups=groups):
            logits = net(batch)
            assert logits.shape == (50,)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, batch["label"].float())
            losses[-1].append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert losses[0][0] == losses[1][0]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
