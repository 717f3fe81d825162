"""Steps of `map_values` that make ids: of strings, and of ids."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sparrow.errors import ConfigError, did_you_mean
from sparrow.ops.map_values.lookup_tables import vocabulary_of_bytes_table, vocabulary_of_ints_table
from sparrow.ops.map_values.packed import TO_BUCKETS, TO_ERROR, TO_INDEX
from sparrow.ops.map_values.step import Step, Tables, check_whole

HASHES = {"farm": 0, "murmur": 1, "xxh64": 2}


def _algorithm(step: str, algorithm: str) -> None:
    if algorithm not in HASHES:
        raise ConfigError(f"{step}: unknown algorithm {algorithm!r}{did_you_mean(str(algorithm), HASHES)}")


@dataclass(frozen=True, slots=True)
class HashBytes(Step):
    """Strings to ids by their hash of 64 bits: "farm" (FarmHash Fingerprint64), "murmur" (MurmurHash64A, seed 0), "xxh64" (seed 0)."""

    algorithm: str = "farm"
    name, code, takes, gives = "HashBytes", 9, "bytes", "ids"

    def __post_init__(self) -> None:
        _algorithm(self.name, self.algorithm)

    def parameters(self, given: torch.dtype, tables: Tables) -> tuple[int, ...]:
        return (HASHES[self.algorithm],)


@dataclass(frozen=True, slots=True)
class _Vocabulary(Step):
    """A key becomes its place in `keys`. One that is not there becomes `oov_index`; or, with `num_oov_buckets`, len(keys) + its farm hash,
    unsigned, modulo that; or, with neither, is refused (and becomes -1)."""

    keys: tuple[Any, ...] = field(repr=False)
    oov_index: int | None = None
    num_oov_buckets: int = 0

    def __post_init__(self) -> None:
        self._check_keys()
        if len(set(self.keys)) != len(self.keys):
            twice = Counter(self.keys).most_common(1)[0][0]
            raise ConfigError(f"{self.name}: the key {twice!r} comes twice")
        check_whole(self.name, "num_oov_buckets", self.num_oov_buckets, 0, 2**62)
        if self.oov_index is not None:
            check_whole(self.name, "oov_index", self.oov_index, -(2**63), 2**63 - 1)
            if self.num_oov_buckets:
                raise ConfigError(f"{self.name}: oov_index and num_oov_buckets exclude each other")

    def _check_keys(self) -> None:
        raise NotImplementedError

    def _table(self) -> Tensor:
        raise NotImplementedError

    def parameters(self, given: torch.dtype, tables: Tables) -> tuple[int, ...]:
        table = tables.add(self._table())
        if self.num_oov_buckets:
            return (table, TO_BUCKETS, self.num_oov_buckets)
        return (table, TO_ERROR, -1) if self.oov_index is None else (table, TO_INDEX, self.oov_index)


@dataclass(frozen=True, slots=True)
class VocabularyOfBytes(_Vocabulary):
    """A vocabulary of strings, compared byte by byte."""

    name, code, takes, gives = "VocabularyOfBytes", 10, "bytes", "ids"

    def _check_keys(self) -> None:
        for key in self.keys:
            if not isinstance(key, bytes):
                raise ConfigError(f"VocabularyOfBytes: the key {key!r} is not bytes")

    def _table(self) -> Tensor:
        return vocabulary_of_bytes_table(self.keys, HashBytes.code)


@dataclass(frozen=True, slots=True)
class HashInts(Step):
    """Ids to ids by the hash of their eight little-endian bytes; the algorithms of `HashBytes`."""

    algorithm: str = "farm"
    name, code, takes, gives = "HashInts", 11, "ids", "ids"

    def __post_init__(self) -> None:
        _algorithm(self.name, self.algorithm)

    def parameters(self, given: torch.dtype, tables: Tables) -> tuple[int, ...]:
        return (HASHES[self.algorithm],)


@dataclass(frozen=True, slots=True)
class NonNegative(Step):
    """The low 63 bits of an id."""

    name, code, takes, gives = "NonNegative", 12, "ids", "ids"


@dataclass(frozen=True, slots=True)
class Mod(Step):
    """An id, read as unsigned, modulo `divisor`."""

    divisor: int
    name, code, takes, gives = "Mod", 13, "ids", "ids"

    def __post_init__(self) -> None:
        check_whole(self.name, "divisor", self.divisor, 1, 2**63 - 1)

    def parameters(self, given: torch.dtype, tables: Tables) -> tuple[int, ...]:
        return (int(self.divisor),)


@dataclass(frozen=True, slots=True)
class Quotient(Step):
    """An id, read as unsigned, divided by `divisor` and rounded down."""

    divisor: int
    name, code, takes, gives = "Quotient", 14, "ids", "ids"

    def __post_init__(self) -> None:
        check_whole(self.name, "divisor", self.divisor, 1, 2**63 - 1)

    def parameters(self, given: torch.dtype, tables: Tables) -> tuple[int, ...]:
        return (int(self.divisor),)


@dataclass(frozen=True, slots=True)
class MultiHash(Step):
    """(((id * multiplier) % prime + prime) % prime) % num_buckets, where the product wraps to 64 bits and % is signed as the dividend."""

    multiplier: int
    prime: int
    num_buckets: int
    name, code, takes, gives = "MultiHash", 15, "ids", "ids"

    def __post_init__(self) -> None:
        check_whole(self.name, "multiplier", self.multiplier, -(2**63), 2**63 - 1)
        check_whole(self.name, "prime", self.prime, 1, 2**62)
        check_whole(self.name, "num_buckets", self.num_buckets, 1, 2**63 - 1)

    def parameters(self, given: torch.dtype, tables: Tables) -> tuple[int, ...]:
        return (int(self.multiplier), int(self.prime), int(self.num_buckets))


@dataclass(frozen=True, slots=True)
class VocabularyOfInts(_Vocabulary):
    """A vocabulary of integers."""

    name, code, takes, gives = "VocabularyOfInts", 16, "ids", "ids"

    def _check_keys(self) -> None:
        for key in self.keys:
            check_whole(self.name, "a key", key, -(2**63), 2**63 - 1)

    def _table(self) -> Tensor:
        return vocabulary_of_ints_table(self.keys)
