"""`prefetch(ids)` exists from the first day and changes nothing."""

import torch

from sparrow.embedding import EmbeddingEngine, EmbeddingOption
from sparrow.types import Batch


def test_prefetch_changes_no_state() -> None:
    engine = EmbeddingEngine({"a": EmbeddingOption(dim=2)})
    engine(Batch.of({"a": torch.tensor([1, 2])}))
    group = engine.groups[0]
    state = [group.map.lines, group.map.headers, group.map.ranges, group.map.counters, group.blocks.weights[0][:2], group.blocks.meta[:2]]
    before = [tensor.clone() for tensor in state]
    engine.prefetch(Batch.of({"a": torch.tensor([2, 3, 4])}))
    assert all(torch.equal(now, then) for now, then in zip(state, before, strict=True))
    assert group.num_rows == 2
