"""An evaluation that averages the AUC of users, from Python and from YAML; DIN from YAML is DIN from its constructor."""

import json

import pytest
import torch
from sklearn.metrics import roc_auc_score

from pipelines.clicks import config_for, rows_and_weights, summary_of, write_config
from pipelines.memory import MemoryDataset, linear, rows
from sparrow.errors import DataError
from sparrow.features import Feature
from sparrow.io import Dataset
from sparrow.models import DIN
from sparrow.optim import CombinedOptimizer, SparseOptimizer
from sparrow.pipelines import Trainer, seed_everything
from sparrow.pipelines.evaluation import evaluate_model
from sparrow.pipelines.labels import groups_of
from sparrow.pipelines.load_config import load_run_config
from sparrow.pipelines.run import evaluate_run, train_run
from sparrow.types import Batch, Group, Ragged, RowSpan


def mean_auc(users, labels, logits):
    """By a loop: (mean weighted by samples, users, users of one class)."""
    total = weight = left_out = 0
    for user in users.unique():
        of_user = users == user
        if labels[of_user].unique().numel() < 2:
            left_out += 1
            continue
        total += int(of_user.sum()) * roc_auc_score(labels[of_user], logits[of_user])
        weight += int(of_user.sum())
    return total / weight, users.unique().numel(), left_out


def test_an_evaluation_averages_the_users(tmp_path):
    model, optimizer = linear()
    test = MemoryDataset(*rows(200))
    users = torch.randint(0, 40, (200,), generator=torch.Generator().manual_seed(0)) ** 2
    metrics = evaluate_model(model, WithUsers(test, users), "label", group="user")
    with torch.no_grad():
        seen = [(batch["label"], model(batch)) for batch in MemoryDataset(*rows(200))]
    labels, logits = (torch.cat(column) for column in zip(*seen, strict=True))
    expected, num_users, left_out = mean_auc(users, labels, logits)
    assert left_out > 0
    assert metrics["gauc"] == pytest.approx(expected, abs=1e-12)
    assert (metrics["gauc_error_bound"], metrics["num_groups"], metrics["num_groups_left_out"]) == (0.0, num_users, left_out)
    trainer = Trainer(model, optimizer, progress=False, group="user")
    assert trainer.evaluate(WithUsers(MemoryDataset(*rows(200)), users)) == metrics
    assert "gauc" not in Trainer(model, optimizer, progress=False).evaluate(MemoryDataset(*rows(200)))
    nobody = evaluate_model(model, WithUsers(MemoryDataset(*rows(200)), torch.arange(200)), "label", group="user")
    assert (nobody["gauc"], nobody["gauc_error_bound"], nobody["num_groups_left_out"]) == (None, None, 200)


class WithUsers:
    """A data set in memory, with a column of users."""

    def __init__(self, dataset, users):
        self.dataset, self.users = dataset, users

    def __iter__(self):
        first = 0
        for batch in self.dataset:
            users = self.users[first : first + batch.num_samples]
            first += batch.num_samples
            yield Batch.of({**batch.groups["sample"].columns, "user": users})

    def state_dict(self):
        return self.dataset.state_dict()


def test_groups_of_any_kind_become_integers():
    ints = torch.tensor([3, 1, 3], dtype=torch.int32)
    words = Ragged(torch.tensor(list(b"abaab"), dtype=torch.uint8), (torch.tensor([0, 2, 3, 5]),))  # "ab", "a", "ab"
    for column in (ints, ints.view(3, 1), Ragged(ints, (torch.arange(4),))):
        assert groups_of(Batch.of({"u": column}), "u").tolist() == [3, 1, 3]
    lists = Ragged(words.values, (torch.arange(4), *words.offsets))
    for column in (words, lists):
        one, other, again = groups_of(Batch.of({"u": column}), "u").tolist()
        assert one == again != other
    shared = Batch({"sample": Group({"y": torch.zeros(4)}, 4), "user": Group({"u": ints}, 3, torch.tensor([0, 0, 1, 2]))})
    assert groups_of(shared, "u").tolist() == [3, 3, 1, 3]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (Ragged(torch.tensor([1, 2, 3]), (torch.tensor([0, 1, 1, 3]),)), r"a\.orc, row 8: group column 'u' holds 0 values; expected one"),
        (torch.tensor([1.0, 2.0, 3.0]), r"a\.orc, row 7: group column 'u' holds torch.float32"),
        (torch.tensor([[1, 2]] * 3), r"a\.orc, row 7: group column 'u' holds torch.int64, \[3, 2\]"),
    ],
)
def test_a_wrong_group_is_named(column, message):
    with pytest.raises(DataError, match=message):
        groups_of(Batch.of({"u": column}, origin=(RowSpan("a.orc", 7, 3),)), "u")


@pytest.fixture
def din_config(clicks, tmp_path):
    config = config_for(clicks / "train", clicks / "eval", tmp_path / "yaml")
    model = {"name": "din", "dense": ["i{1,2}"], "sparse": ["c1", "title"], "sequences": [{"c2": "c1"}], "dim": 4, "hidden": [8]}
    return write_config(tmp_path / "run.yaml", {**config, "model": model, "data": {**config["data"], "group": "title"}})


def test_din_from_yaml_is_din_from_python(din_config, clicks, tmp_path):
    summary = train_run(load_run_config(din_config), progress=False)
    assert summary["eval"]["num_groups"] == 40
    assert 0 < summary["eval"]["gauc"] < 1
    again = evaluate_run(tmp_path / "yaml")
    del again["checkpoint"]
    assert again == summary["eval"]
    seed_everything(1)
    features = [
        *[Feature(name).select(name).fill(0.0).log1p() for name in ("i1", "i2")], Feature("c1").select("c1"), Feature("c2").select("c2"),
        Feature("title").select("title").hash("farm").mod(1000),
    ]  # fmt: skip
    model = DIN(features, dense=["i1", "i2"], sparse=["c1", "title"], sequences=[{"c2": "c1"}], dim=4, hidden=(8,), seed=1)
    optimizer = CombinedOptimizer(torch.optim.Adam(model.parameters(), lr=1e-3), SparseOptimizer(model, lr=0.01))
    columns = ["label", *model.columns]
    trainer = Trainer(model, optimizer, run_folder=tmp_path / "script", group="title", progress=False, seed=1, log_every=10)
    test = Dataset(str(clicks / "eval"), columns, batch_size=4096)
    trainer.fit(Dataset(str(clicks / "train"), columns, batch_size=32), epochs=2, evaluate_on=test)
    assert rows_and_weights(tmp_path / "script") == rows_and_weights(tmp_path / "yaml")
    assert summary_of(tmp_path / "script")["eval"] == json.loads(json.dumps(summary["eval"]))


def test_a_group_that_the_model_does_not_read_is_read_for_evaluation_only(din_config, tmp_path):
    changed = load_run_config(din_config, {"data.group": "i3", "run.max_steps": "1"})
    with pytest.raises(DataError, match="i3"):
        train_run(changed, progress=False)
