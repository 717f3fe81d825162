// The items of greatest weight of every list, in order of position.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <functional>
#include <vector>

#include "core/item_runs.h"
#include "core/row_pieces.h"

namespace sparrow {

// Orders the items of a list: by weight, NaN least, -0 equal to 0, then the earlier position first. No two are equal.
inline int64_t rank_key(float weight, int64_t position) {
  // On bits alone: a thread that flushes subnormal numbers to zero, as compiled models may leave it, would take them for equal.
  int32_t bits = std::bit_cast<int32_t>(weight);
  const bool is_nan = (bits & INT32_MAX) > 0x7f800000;
  bits = bits == INT32_MIN ? 0 : bits;
  bits ^= (bits >> 31) & INT32_MAX;  // negative floats fall as their bits grow
  if (is_nan) bits = INT32_MIN;
  return (static_cast<int64_t>(bits) << 32) | (UINT32_MAX - static_cast<uint32_t>(position));
}

// Returns the key of the item that is the `k`-th greatest of keys[0, count), 1 <= k <= count. Reorders the keys.
inline int64_t kth_key(int64_t* keys, int64_t count, int64_t k) {
  constexpr int64_t kMostRanked = 48;
  if (count > kMostRanked) {
    std::nth_element(keys, keys + k - 1, keys + count, std::greater<>());
    return keys[k - 1];
  }
  // Few: counting, for each, those that are greater takes no branch that depends on the weights.
  int64_t found = 0;
  for (int64_t i = 0; i < count; ++i) {
    int64_t greater = 0;
    for (int64_t j = 0; j < count; ++j) greater += keys[j] > keys[i];
    found = greater == k - 1 ? keys[i] : found;
  }
  return found;
}

struct TopColumn {
  int64_t k;
  const int64_t* offsets;
  int64_t* out_offsets;
  ItemRuns values, weights;
};

template <typename Word>
inline void write_top(const TopColumn& column, int64_t first, int64_t last, int64_t at, int64_t stop) {
  const auto* values = reinterpret_cast<const Word*>(column.values.from);
  const auto* weights = reinterpret_cast<const float*>(column.weights.from);
  auto* out_values = reinterpret_cast<Word*>(column.values.out);
  auto* out_weights = reinterpret_cast<float*>(column.weights.out);
  std::vector<int64_t> keys;
  for (int64_t row = first; row < last; ++row) {
    column.out_offsets[row] = at;
    const int64_t begin = column.offsets[row], count = column.offsets[row + 1] - begin, kept = std::min(count, column.k);
    if (kept == count) {
      column.values.copy(begin, count, at, stop);
      column.weights.copy(begin, count, at, stop);
    } else if (kept > 0) {
      if (static_cast<int64_t>(keys.size()) < count) keys.resize(2 * count);
      for (int64_t i = 0; i < count; ++i) keys[i] = rank_key(weights[begin + i], i);
      const int64_t least = kth_key(keys.data(), count, kept);
      // Every item is written where the next kept one goes; a place is left behind once its item is kept.
      for (int64_t i = 0, place = 0; place < kept; ++i) {
        out_values[at + place] = values[begin + i];
        out_weights[at + place] = weights[begin + i];
        place += rank_key(weights[begin + i], i) >= least;
      }
    }
    at += kept;
  }
}

}  // namespace sparrow
