"""Nested state comes back as it went in: types, key order, every bit."""

import collections
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saver.dict_store import same
from sparrow.errors import CheckpointError
from sparrow.saver import Saver

tensors = st.builds(
    lambda dtype, shape, seed: (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 100).to(dtype),
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.int32, torch.uint8, torch.bool]),
    st.lists(st.integers(0, 3), max_size=3),
    st.integers(0, 9),
)
any_text = st.text(st.characters(), max_size=8)
atoms = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), any_text, st.sampled_from(["$tensor", "$", "\ud83d\ude00", "\udcff"])
)
keys = st.one_of(atoms, st.tuples(st.integers(), any_text))
values = st.recursive(
    st.one_of(atoms, tensors),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(any_text, inner, max_size=4),
        st.dictionaries(keys, inner, max_size=4),
    ),
    max_leaves=12,
)


def round_trip(folder, state):
    saver = Saver(folder, keep=1)
    return saver.load(saver.save(0, {}, {}, state), {}).state


def comparable(value):
    """`same` compares bytes, which numpy has no bfloat16 for."""
    if isinstance(value, torch.Tensor):
        return ["tensor", str(value.dtype), list(value.shape), value.contiguous().reshape(-1).view(torch.uint8).tolist()]
    if isinstance(value, (list, tuple)):
        return type(value)(map(comparable, value))
    if isinstance(value, dict):
        return [(comparable(key), comparable(item)) for key, item in value.items()]
    return value


@given(st.dictionaries(keys, values, max_size=5))
@settings(max_examples=60, deadline=None)
def test_any_nested_state_comes_back(tmp_path_factory, state):
    assert same(comparable(round_trip(tmp_path_factory.mktemp("state"), state)), comparable(state))


def test_huge_integers_come_back(tmp_path):
    huge = 10**5000
    state = round_trip(tmp_path, {"value": -huge, "keys": {huge: 1, (huge, "a"): 2}})
    assert state["value"] == -huge
    assert list(state["keys"].items()) == [(huge, 1), ((huge, "a"), 2)]


def test_state_of_a_torch_optimizer_continues_bit_for_bit(tmp_path):
    def steps(parameter, optimizer, num):
        for step in range(num):
            parameter.grad = torch.full_like(parameter, 0.1 * step + 0.3)
            optimizer.step()

    first = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([first], lr=0.01, amsgrad=True)
    steps(first, optimizer, 3)
    state = round_trip(tmp_path, {"optimizer": optimizer.state_dict(), "rng": torch.get_rng_state()})
    second = torch.nn.Parameter(first.detach().clone())
    resumed = torch.optim.Adam([second], lr=0.5)
    resumed.load_state_dict(state["optimizer"])
    assert torch.equal(state["rng"], torch.get_rng_state())
    steps(first, optimizer, 3)
    steps(second, resumed, 3)
    assert torch.equal(first, second)


def test_subclasses_come_back_as_the_plain_type(tmp_path):
    pair = collections.namedtuple("pair", "a b")
    state = {"o": collections.OrderedDict(x=1), "p": pair(1, 2.5), "s": torch.Size([2, 3]), "f": np.float64(0.1)}
    assert same(round_trip(tmp_path, state), {"o": {"x": 1}, "p": (1, 2.5), "s": (2, 3), "f": 0.1})


def test_tensors_that_share_memory_are_each_stored_whole(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    dense = {"tied": base, "again": base, "row": base[1], "column": base[:, 1], "transposed": base.T, "grad": torch.nn.Parameter(base)}
    saver = Saver(tmp_path)
    loaded = saver.load(saver.save(0, {}, dense, {}), {}).dense
    assert loaded.keys() == dense.keys()
    assert all(torch.equal(loaded[name], dense[name]) for name in dense)


def cyclic():
    state = {}
    state["self"] = [state]
    return state


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": [0, {"b": {1, 2}}]}, r"state\['a'\]\[1\]\['b'\] is a builtins.set"),
        ({"auc": np.int64(3)}, r"state\['auc'\] is a numpy.int64"),
        ({"f": len}, r"state\['f'\]"),
        ({"z": 1j}, r"state\['z'\] is a builtins.complex"),
        (cyclic(), "nested more than 200 deep"),
        ({"t": torch.eye(2).to_sparse()}, "convert it to a plain dense tensor"),
        ({"t": torch.zeros(2, device="meta")}, "meta"),
        ({"t": torch.zeros(2, dtype=torch.complex128)}, "complex128"),
    ],
)
def test_what_cannot_be_stored_is_named_and_nothing_is_left(tmp_path, state, message):
    with pytest.raises(CheckpointError, match=message):
        Saver(tmp_path).save(1, {}, {}, state)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("dense", "message"), [({"a": 1.5}, "dense 'a' is a float"), ({"__metadata__": torch.ones(1)}, "__metadata__")])
def test_dense_that_cannot_be_stored_is_named(tmp_path, dense, message):
    with pytest.raises(CheckpointError, match=message):
        Saver(tmp_path).save(1, {}, dense, {})
    assert list(tmp_path.iterdir()) == []


def test_nan_is_the_only_value_not_compared_by_bits(tmp_path):
    state = round_trip(tmp_path, {"zero": -0.0, "tiny": 5e-324, "nan": math.nan, "ends": (math.inf, -math.inf)})
    assert same(state, {"zero": -0.0, "tiny": 5e-324, "nan": math.nan, "ends": (math.inf, -math.inf)})
    assert not same(state["zero"], 0.0)
