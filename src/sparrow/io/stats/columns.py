"""Statistics of one column, of any type that a dataset reads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from sparrow.io.stats.sketches import Distinct, Moments, Quantiles, TopItems
from sparrow.ops.map_values.op import map_values
from sparrow.ops.map_values.steps import Chain, HashBytes, HashInts, Source, pack

_SHARES = (0.01, 0.25, 0.5, 0.75, 0.99)
_NUM_TOP, _NUM_BINS = 10, 30
# Of numbers that hardly ever come again none is worth a line.
_LEAST_TOP_SHARE = 0.005


_HASH_INTS = pack([Chain(0, steps=(HashInts("farm"),))], [torch.int64])
_HASH_STRINGS = pack([Chain(0, 0, Source.BYTES, (HashBytes("farm"),))], [torch.uint8])


class ColumnStats:
    """What a column holds: missing rows, lengths of lists, and its values.

    Missing is a row that is null, an empty list, or an empty string. Values are those inside of lists, at any depth; of maps and lists of
    pairs the keys, their weights apart. Memory: some 200 kB a column, whatever it holds.
    """

    def __init__(self, name: str, file_type: str) -> None:
        self.name, self.file_type = name, file_type
        self.num_rows = self.num_missing = self.num_ids = 0
        self.kind = "numbers"  # or "ids" (integers in lists), "strings", "truth values", "unread"
        self.is_list = False
        self.lengths, self.length_moments = Quantiles(), Moments()
        self.moments, self.quantiles = Moments(), Quantiles()
        self.distinct, self.top = Distinct(), TopItems()
        self.byte_lengths = Moments()
        self.weights = Moments()

    def update(self, array: Any) -> None:
        """Take the rows of an Arrow array."""
        self.num_rows += len(array)
        missing = array.is_null().to_numpy(zero_copy_only=False)
        array = _plain(array)
        depth = 0
        while _is_list(array.type):
            lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False).astype(np.int64)
            if depth == 0:
                missing = missing | (lengths == 0)
                self._take_lengths(lengths)
            self.is_list, depth = True, depth + 1
            array = _plain(array.flatten())
        if pa.types.is_map(array.type):
            array = array.cast(pa.list_(pa.struct([("k", array.type.key_type), ("v", array.type.item_type)])))
            return self._take_pairs(array, missing)
        if pa.types.is_struct(array.type) and array.type.num_fields == 2:
            self._take_weights(array.field(1))
            array = _plain(array.field(0))
        if not self.is_list and _is_bytes(array.type):
            missing = missing | (pc.fill_null(pc.binary_length(array), 0).to_numpy(zero_copy_only=False) == 0)
        self.num_missing += int(missing.sum())
        self._take_values(array.drop_null())
        return None

    def _take_pairs(self, array: Any, missing: Any) -> None:
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        self.is_list = True
        self._take_lengths(lengths)
        self.num_missing += int((missing | (lengths == 0)).sum())
        pairs = array.flatten()
        self._take_weights(pairs.field(1))
        self._take_values(_plain(pairs.field(0)).drop_null())

    def _take_lengths(self, lengths: Any) -> None:
        found, counts = np.unique(lengths, return_counts=True)
        self.lengths.update(found.astype(np.float64), counts)
        self.length_moments.update(found.astype(np.float64), counts)

    def _take_weights(self, weights: Any) -> None:
        weights = weights.drop_null()
        if _is_number(weights.type):
            values = weights.to_numpy(zero_copy_only=False).astype(np.float64)
            self.weights.update(values, np.ones(len(values), dtype=np.int64))

    def _take_values(self, values: Any) -> None:
        if pa.types.is_temporal(values.type):
            values = (values.cast(pa.int32()) if pa.types.is_date32(values.type) else values).cast(pa.int64())
        if _is_bytes(values.type):
            self._take_strings(values.cast(pa.large_binary()))
        elif pa.types.is_boolean(values.type) or _is_number(values.type):
            self._take_numbers(values)
        else:
            self.kind = "unread"

    def _take_numbers(self, values: Any) -> None:
        if pa.types.is_boolean(values.type):
            self.kind, values = "truth values", values.cast(pa.int8())
        counted = values.value_counts()
        counts = counted.field(1).to_numpy(zero_copy_only=False)
        distinct = counted.field(0)
        numbers = distinct.to_numpy(zero_copy_only=False)
        is_float = pa.types.is_floating(values.type)
        if self.is_list and not is_float and self.kind != "truth values":
            # Which ids there are says something, what numbers they are nothing.
            self.kind, self.num_ids = "ids", self.num_ids + len(values)
        else:
            self.moments.update(numbers.astype(np.float64), counts)
            self.quantiles.update(numbers.astype(np.float64), counts)
        if len(numbers) == 0:
            return
        bits = numbers.astype(np.float64).view(np.int64) if is_float else numbers.astype(np.int64)
        hashes = map_values([torch.from_numpy(bits.copy())], [], _HASH_INTS)[0][0]
        self.distinct.update(hashes.numpy().view(np.uint64))
        self._take_top(numbers, counts)

    def _take_strings(self, values: Any) -> None:
        self.kind = "strings"
        counted = values.value_counts()
        counts, distinct = counted.field(1).to_numpy(zero_copy_only=False), counted.field(0)
        lengths = pc.binary_length(distinct).to_numpy(zero_copy_only=False)
        self.byte_lengths.update(lengths.astype(np.float64), counts)
        if len(distinct) == 0:
            return
        offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        data = np.frombuffer(b"".join(distinct.to_pylist()), dtype=np.uint8)
        hashes = map_values([torch.from_numpy(data.copy())], [torch.from_numpy(offsets)], _HASH_STRINGS)[0][0]
        self.distinct.update(hashes.numpy().view(np.uint64))
        self._take_top(distinct, counts)

    def _take_top(self, distinct: Any, counts: Any) -> None:
        """Give the most frequent of a piece to the sketch; what is left out of a piece counts in the sketch's error."""
        most = TopItems.CAPACITY
        dropped = 0
        if len(counts) > most:
            order = np.argpartition(counts, len(counts) - most - 1)[::-1]
            dropped = int(counts[order[most]])
            order = order[:most]
            distinct, counts = distinct.take(pa.array(order)) if isinstance(distinct, pa.Array) else distinct[order], counts[order]
        keys = distinct.to_pylist() if isinstance(distinct, pa.Array) else distinct.tolist()
        if dropped:
            # As Misra and Gries do: all kept counts lose what the largest of those left out had.
            kept = [(key, count - dropped) for key, count in zip(keys, counts.tolist(), strict=True) if count > dropped]
            self.top.error += dropped
            keys, counts = [key for key, _ in kept], np.array([count for _, count in kept], dtype=np.int64)
        self.top.update(
            [key for key in keys if key == key], [count for key, count in zip(keys, counts.tolist(), strict=True) if key == key]
        )

    def merge(self, other: ColumnStats) -> None:
        """Add what another scan of the same column found."""
        self.num_rows, self.num_missing = self.num_rows + other.num_rows, self.num_missing + other.num_missing
        self.num_ids, self.is_list = self.num_ids + other.num_ids, self.is_list or other.is_list
        if self.kind == "numbers":
            self.kind = other.kind
        for mine, its in (
            (self.lengths, other.lengths), (self.length_moments, other.length_moments), (self.moments, other.moments),
            (self.quantiles, other.quantiles), (self.distinct, other.distinct), (self.top, other.top),
            (self.byte_lengths, other.byte_lengths), (self.weights, other.weights),
        ):  # fmt: skip
            mine.merge(its)  # type: ignore[arg-type]

    def summary(self) -> dict[str, Any]:
        """Return the numbers, JSON-able; keys that do not apply are left out."""
        num_values = self.num_ids + self.byte_lengths.count + self.moments.count + self.moments.num_nans + self.moments.num_infinite
        out: dict[str, Any] = {
            "type": self.file_type,
            "kind": self.kind,
            "rows": self.num_rows,
            "missing": self.num_missing,
            "missing_rate": self.num_missing / self.num_rows if self.num_rows else 0.0,
            "values": num_values,
        }
        if self.kind == "unread":
            return out
        if self.is_list:
            out["lengths"] = {
                "mean": self.length_moments.mean, **{f"p{round(100 * share)}": self._length_at(share) for share in (0.5, 0.9, 0.99)},
                "max": int(self.length_moments.max) if self.length_moments.count else 0,
            }  # fmt: skip
            if self.length_moments.count and self.length_moments.max > 1:
                out["length_histogram"] = self._histogram(self.lengths, self.length_moments)
        if num_values:
            # While the sketch of frequent values holds all of them, it counts them.
            out["distinct"] = self.top.num_kept if self.top.error == 0 else min(self.distinct.estimate(), num_values)
            top = self.top.top(_NUM_TOP)
            if self.kind != "numbers" or (top and top[0][1] >= num_values * _LEAST_TOP_SHARE):
                out["top"] = [{"value": _json(value), "count": count} for value, count in top]
                out["top_count_error"] = self.top.error
        if self.kind == "strings" and num_values:
            out["bytes"] = {"mean": self.byte_lengths.mean, "min": int(self.byte_lengths.min), "max": int(self.byte_lengths.max)}
        elif self.moments.count:
            moments = self.moments
            out["numbers"] = {"min": moments.min, "max": moments.max, "mean": moments.mean, "std": moments.std, "zeros": moments.num_zeros}
            out["quantiles"] = {f"p{round(100 * share)}": self._quantile(share) for share in _SHARES}
            out["histogram"] = self._histogram(self.quantiles, moments)
        if self.moments.num_nans or self.moments.num_infinite:
            out["not_finite"] = {"nan": self.moments.num_nans, "infinite": self.moments.num_infinite}
        if self.weights.count:
            out["weights"] = {"min": self.weights.min, "max": self.weights.max, "mean": self.weights.mean}
        return out

    def _quantile(self, share: float) -> float:
        value = min(max(self.quantiles.at(share), self.moments.min), self.moments.max)
        return float(round(value)) if self.moments.are_whole else value

    def _length_at(self, share: float) -> int:
        return min(round(self.lengths.at(share)), int(self.length_moments.max)) if self.length_moments.count else 0

    @staticmethod
    def _histogram(quantiles: Quantiles, moments: Moments) -> dict[str, Any]:
        # Few ends would squeeze everything else into one bin: what lies outside 1% and 99% counts in the outermost.
        low, high = max(quantiles.at(0.01), moments.min), min(quantiles.at(0.99), moments.max)
        if moments.are_whole and math.isfinite(low):
            low, high = float(round(low)), float(round(high))
        if not low < high:
            low, high = moments.min, moments.max
        return {"low": low, "high": high, "counts": quantiles.histogram(low, high, _NUM_BINS if low < high else 1)}


def _plain(array: Any) -> Any:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _is_list(file_type: Any) -> bool:
    return bool(pa.types.is_list(file_type) or pa.types.is_large_list(file_type) or pa.types.is_fixed_size_list(file_type))


def _is_number(file_type: Any) -> bool:
    return bool(pa.types.is_integer(file_type) or pa.types.is_floating(file_type))


def _is_bytes(file_type: Any) -> bool:
    tests = (pa.types.is_string, pa.types.is_binary, pa.types.is_large_string, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    return any(test(file_type) for test in tests)


def _json(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value if not isinstance(value, float) or math.isfinite(value) else str(value)
