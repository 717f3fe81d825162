"""An engine is a module whose tables torch must not broadcast, cast, copy or pickle behind the user's back."""

import copy
import pickle

import pytest
import torch

from sparrow.embedding import EmbeddingEngine, EmbeddingOption
from sparrow.errors import TableError
from sparrow.optim import SparseOptimizer
from sparrow.tables import Normal
from sparrow.types import Batch


def engine() -> EmbeddingEngine:
    return EmbeddingEngine({name: EmbeddingOption(dim=2, initializer=Normal(std=1.0)) for name in ("a", "b")}, seed=5)


def batch() -> Batch:
    return Batch.of({"a": torch.tensor([1, 2]), "b": torch.tensor([1, 3])})


def populated() -> EmbeddingEngine:
    model = engine()
    model(batch())
    return model


def test_tables_are_neither_parameters_nor_buffers() -> None:
    assert list(populated().parameters()) == []
    assert list(populated().buffers()) == []


def test_half_and_to_the_same_device_leave_the_tables_alone() -> None:
    model = populated()
    before = model.eval()(batch())["a"].clone()
    model.half().to("cpu").to(torch.float64)
    assert model.groups[0].dtype == torch.float32
    assert torch.equal(model(batch())["a"], before)


def test_to_another_device_raises_and_names_the_call() -> None:
    with pytest.raises(TableError, match="Saver"):
        populated().to("meta")


@pytest.mark.parametrize("action", [copy.deepcopy, pickle.dumps])
def test_copying_or_pickling_rows_raises_and_names_the_call(action) -> None:
    with pytest.raises(TableError, match="Saver"):
        action(populated())


class Named(EmbeddingEngine):
    """A user's engine with a constructor of its own."""

    def __init__(self, feature: str) -> None:
        super().__init__({feature: EmbeddingOption(dim=2)})
        self.feature = feature


@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_is_of_its_class_and_keeps_what_was_adopted(twin_of) -> None:
    source = Named("a")
    saved = Named("a").groups[0].describe()
    saved["step"], saved["tables"][0]["seed"] = 7, 11
    source.groups[0].adopt(saved)
    twin = twin_of(source)
    assert type(twin) is Named
    assert twin.feature == "a"
    assert twin.groups[0].describe() == saved
    twin(Batch.of({"a": torch.tensor([1])}))
    assert source.groups[0].num_rows == 0


def test_sharing_memory_with_other_processes_is_refused() -> None:
    for model in (engine(), torch.nn.Sequential(engine())):
        with pytest.raises(TableError, match="shared memory"):
            model.share_memory()


def test_an_engine_without_rows_copies_and_pickles() -> None:
    expected = populated().eval()(batch())["a"]
    for twin in (copy.deepcopy(engine()), pickle.loads(pickle.dumps(engine()))):
        twin(batch())
        assert torch.equal(twin.eval()(batch())["a"], expected)


def test_state_dict_holds_a_description_and_checks_it() -> None:
    state = populated().state_dict()
    assert all(not isinstance(value, torch.Tensor) for value in state.values())
    # Its rows must be there already: no state_dict brings them.
    with pytest.raises(TableError, match=r"4 rows.*Saver\.load"):
        engine().load_state_dict(state)
    populated().load_state_dict(state)
    engine().load_state_dict(engine().state_dict())
    other = EmbeddingEngine({"a": EmbeddingOption(dim=2)})
    with pytest.raises(TableError, match="'b'"):
        other.load_state_dict(state)


def test_insertion_follows_the_training_flag() -> None:
    model = engine().eval()
    model(batch())
    assert model.groups[0].num_rows == 0
    with torch.no_grad():
        model.train()(batch())
    assert model.groups[0].num_rows == 4


def test_first_values_depend_on_seed_table_and_id_alone() -> None:
    forward, backward = engine(), engine()
    forward(batch())
    backward(Batch.of({"a": torch.tensor([9, 2]), "b": torch.tensor([3, 3])}))
    backward(Batch.of({"a": torch.tensor([1, 7]), "b": torch.tensor([1, 8])}))
    for feature in ("a", "b"):
        assert torch.equal(forward.eval()(batch())[feature], backward.eval()(batch())[feature])
    vectors = forward(Batch.of({"a": torch.tensor([1]), "b": torch.tensor([1])}))
    assert not torch.equal(vectors["a"], vectors["b"]), "equal ids of two tables are two rows with their own first values"


@pytest.mark.parametrize("inserting", [False, True])
def test_what_inference_mode_made_can_be_trained(inserting: bool) -> None:
    model = engine().train(inserting)
    with torch.inference_mode():
        assert not model(batch())["a"].requires_grad
    optimizer = SparseOptimizer(model, lr=0.5)
    before = model.train()(batch())["a"].detach().clone()
    model(batch())["a"].sum().backward()
    optimizer.step()
    assert not torch.equal(model(batch())["a"], before)
