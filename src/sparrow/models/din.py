"""DIN: attention of the target over what the user did before (Deep Interest Network, Zhou et al., KDD 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, linear

from sparrow.embedding import EmbeddingEngine, EmbeddingOption
from sparrow.errors import ConfigError, did_you_mean
from sparrow.features import Feature, FeatureEngine
from sparrow.models.behaviours import Pairs, most_behaviours, split_behaviours
from sparrow.models.dice import Dice
from sparrow.models.inputs import check_inputs, dense_matrix, places, stack_samples
from sparrow.tables import Initializer, Normal
from sparrow.types import Batch, ColumnSpec

ACTIVATIONS = ("dice", "prelu")
POOLINGS = ("attention", "softmax", "sum", "mean")


class DIN(nn.Module):
    """logit = MLP([v, interests, x]) for embeddings v of the sparse features, values x of the dense ones, and an interest a sequence.

    A behaviour is the embeddings of its features side by side. An interest is the sum of a sample's behaviours, each times its score: an
    MLP of the behaviour, the target (the embeddings of the features it is compared with) and the product of both. The published unit also
    takes their difference, which is linear in the two and adds nothing. No behaviour: an interest of zeros.

    Args:
        features: how every input is made from columns.
        dense: names of the features that are numbers, one a sample.
        sparse: names of the features that are ids, any number a sample: profile, target and context.
        sequences: for each sequence of behaviours its features, and for each of these the sparse feature of the target whose table it
            shares, or None for side information that a target does not have: `[{"past_item": "item", "past_age": None}]`. Columns
            are lists, or lists of lists where a behaviour has several ids (its categories); those of one sequence have equal lengths.
        dim: values an embedding. hidden: widths of the MLP. attention_hidden: of the one that scores. dropout: after each of `hidden`.
        pooling: `"attention"`: scores as they are, so that an interest tells how strong it is, as published; `"softmax"`: those of a sample
            add up to 1; `"sum"` and `"mean"`: no attention, every behaviour alike, as a baseline.
        activation: `"dice"` or `"prelu"`, of both MLPs.
        combiner: of several ids. initializer: of the embeddings. rule: update rule of the tables.
        seed: of the tables' first values. Dense weights follow torch's generator.
        device: of the model and its batches. table_device: of tables and batches, where the rest of the model lives elsewhere;
            None takes `device`. First values are the same everywhere. docs/gpu.md.

    Nothing waits for a device. But where samples share histories there, a feature of each sequence must say by `truncate` or `pad` how long
    one may be: else a step waits once a sequence, and cannot be captured.

    Cost: per sample and behaviour two products with matrices of `attention_hidden[0]` rows, one of them and the lookup once a user where
    samples share histories (a batch group with `sample_to_row`). Nothing is padded, but in a captured step to the memory of its columns,
    and on a device where histories are shared to how long they may be.
    """

    def __init__(
        self,
        features: Sequence[Feature],
        *,
        dense: Sequence[str],
        sparse: Sequence[str],
        sequences: Sequence[Mapping[str, str | None]],
        dim: int = 16,
        hidden: Sequence[int] = (200, 80),
        attention_hidden: Sequence[int] = (36,),
        dropout: float = 0.0,
        pooling: str = "attention",
        activation: str = "dice",
        combiner: str = "sum",
        initializer: Initializer | None = None,
        rule: str = "adam",
        seed: int = 0,
        device: torch.device | str = "cpu",
        table_device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        check_inputs(features, dense, sparse, [name for sequence in sequences for name in sequence])
        _check_sequences(sparse, sequences)
        for value, known, what in ((pooling, POOLINGS, "pooling"), (activation, ACTIVATIONS, "activation")):
            if value not in known:
                raise ConfigError(f"unknown {what} {value!r}{did_you_mean(value, known)}")
        self.dense, self.sparse, self.pooling = list(dense), list(sparse), pooling
        self.sequences = [_in_order_of_tables(sequence, self.sparse) for sequence in sequences]
        # Of each sequence where in `sparse` the features are that its first ones are compared with.
        self.compared = [
            [self.sparse.index(table) for name in names if (table := sequence[name]) is not None]
            for names, sequence in zip(self.sequences, sequences, strict=True)
        ]
        self.features = FeatureEngine(features)
        self.most = [most_behaviours(feature for feature in features if feature.name in names) for names in self.sequences]
        tables = {name: name for name in sparse} | {name: table or name for sequence in sequences for name, table in sequence.items()}
        place, table_place = places(device, table_device)
        shared: dict[str, Any] = {"dim": dim, "combiner": combiner, "initializer": initializer or Normal(std=0.01), "rule": rule}
        self.embedding = EmbeddingEngine(
            {name: EmbeddingOption(table=table, device=table_place, **shared) for name, table in tables.items()}, seed=seed
        )
        self.units = nn.ModuleList(
            ActivationUnit(len(names) * dim, len(compared) * dim, attention_hidden, activation)
            for names, compared in zip(self.sequences, self.compared, strict=True)
            if pooling in ("attention", "softmax")
        ).to(place)
        width = (len(self.sparse) + sum(map(len, self.sequences))) * dim + len(self.dense)
        self.mlp = nn.Sequential(*_layers(width, hidden, activation, dropout)).to(place)

    @property
    def columns(self) -> list[ColumnSpec]:
        """What a reader must read for this model."""
        return self.features.columns

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits, [samples], in the dtype of the dense weights (float32 unless cast) and where these are."""
        inputs, pairs = split_behaviours(self.features(batch), self.sequences, self.most)
        # To the dtype and the device of the dense weights: tables keep theirs when the model is cast, and may live elsewhere.
        like = next(self.mlp.parameters())
        embedded = self.embedding(inputs)
        vectors = stack_samples(embedded, inputs, self.sparse).to(like)  # [B, F, D]
        interests = [
            self._interest(index, embedded.stack(names).flatten(1).to(like), vectors, pairs[index].to(like.device))
            for index, names in enumerate(self.sequences)
        ]
        return self.mlp(torch.cat([vectors.flatten(1), *interests, dense_matrix(inputs, self.dense, like)], 1)).squeeze(1)

    def _interest(self, index: int, behaviours: Tensor, vectors: Tensor, pairs: Pairs) -> Tensor:
        """Return the sum of each sample's behaviours, weighted, [samples, E], of behaviours [N, E] and the vectors [samples, F, D]."""
        if self.pooling in ("attention", "softmax"):
            # Not by a list of indices, which a device would have to be sent.
            of_features = vectors.unbind(1)
            targets = torch.cat([of_features[feature] for feature in self.compared[index]], 1)
            scores = self.units[index](behaviours, targets, pairs)
            weights = _softmax(scores, pairs) if self.pooling == "softmax" else scores
        else:
            counts = pairs.lengths if self.pooling == "mean" else torch.ones_like(pairs.lengths)
            weights = counts.to(behaviours.dtype).reciprocal()[pairs.sample]
        return embedding_bag(pairs.behaviour, behaviours, pairs.starts, mode="sum", per_sample_weights=pairs.only_there(weights))


class ActivationUnit(nn.Module):
    """Scores behaviours for a target: an MLP of [behaviour, target, behaviour * target], one number a pair.

    The first layer is taken apart: its product with a behaviour is computed once a behaviour, that with the target once a sample, and only
    that with their product once a pair.

    Args:
        width: values of a behaviour. compared: how many of them, the first, stand beside those of the target. hidden: widths, at least one.
        activation: `"dice"` or `"prelu"`.
    """

    def __init__(self, width: int, compared: int, hidden: Sequence[int], activation: str) -> None:
        super().__init__()
        if not hidden:
            raise ConfigError("attention_hidden is empty; a score needs at least one hidden layer, or take pooling 'sum'")
        self.width = compared
        # One layer to draw its first weights, three to use them.
        self.first = nn.Linear(width + 2 * compared, hidden[0])
        self.rest = nn.Sequential(_activation(activation, hidden[0]), *_layers(hidden[0], hidden[1:], activation))

    def forward(self, behaviours: Tensor, targets: Tensor, pairs: Pairs) -> Tensor:
        """Return float [P] for behaviours [N, width] and targets [samples, compared]."""
        of_behaviour, of_target, of_product = self.first.weight.split([behaviours.shape[1], self.width, self.width], 1)
        products = pairs.spread(behaviours[:, : self.width]) * targets.index_select(0, pairs.sample)
        once_a_behaviour = pairs.spread(linear(behaviours, of_behaviour))
        once_a_sample = linear(targets, of_target, self.first.bias).index_select(0, pairs.sample)
        scores = once_a_behaviour + once_a_sample + linear(products, of_product)
        for layer in self.rest:
            scores = layer(scores, pairs.is_there) if isinstance(layer, Dice) else layer(scores)
        return scores.squeeze(1)


def _softmax(scores: Tensor, pairs: Pairs) -> Tensor:
    """Return the scores' exponentials over their sum in each sample, [P]."""
    num_sums, sample = pairs.lengths.numel(), pairs.sample
    if pairs.is_there is not None:
        # Those that are not there have a sum of their own.
        num_sums, sample = num_sums + 1, sample.masked_fill(~pairs.is_there, num_sums)
    # The largest of a sample goes from numerator and denominator alike: it needs no gradient.
    largest = scores.new_zeros(num_sums).scatter_reduce(0, sample, scores.detach(), "amax", include_self=False)
    exponentials = (scores - largest[sample]).exp()
    return exponentials / scores.new_zeros(num_sums).index_add(0, sample, exponentials)[sample]


def _layers(width: int, hidden: Sequence[int], activation: str, dropout: float = 0.0) -> list[nn.Module]:
    """Return the layers of an MLP to one number."""
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(width, size), _activation(activation, size), *([nn.Dropout(dropout)] if dropout else [])]
        width = size
    return [*layers, nn.Linear(width, 1)]


def _activation(name: str, width: int) -> nn.Module:
    return Dice(width) if name == "dice" else nn.PReLU(width)


def _in_order_of_tables(sequence: Mapping[str, str | None], sparse: Sequence[str]) -> list[str]:
    """Return the features of a sequence: those with a target's table in the order of `sparse`, as they are looked up, then the others."""
    return sorted(sequence, key=lambda name: len(sparse) if (table := sequence[name]) is None else sparse.index(table))


def _check_sequences(sparse: Sequence[str], sequences: Sequence[Mapping[str, str | None]]) -> None:
    if not sequences:
        raise ConfigError("DIN needs at least one sequence of behaviours; give sequences=[{'past_item': 'item'}], or take another model")
    for index, sequence in enumerate(sequences):
        for name, table in sequence.items():
            if table is not None and table not in sparse:
                raise ConfigError(
                    f"sequence {index}: {name!r} shares the table of {table!r}, which is not a sparse input{did_you_mean(table, sparse)}"
                )
        if not any(sequence.values()):
            raise ConfigError(
                f"sequence {index}: none of {list(sequence)} shares the table of a sparse input, so there is no target to compare with"
            )
