// The gradient of pooled rows, summed per distinct row in position order.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/gather_pool.h"

namespace sparrow {

// Where the gradients of each distinct row lie: a counting sort of the positions by distinct row, in position order within each.
template <typename T>
struct Occurrences {
  std::vector<int32_t> first;         // [U + 2]: row u owns occurrences [first[u], first[u + 1]); the last entry is scratch
  std::unique_ptr<int32_t[]> source;  // [N]: which [D] of the gradient an occurrence receives
  std::unique_ptr<T[]> factor;        // [N]: times what; null where every factor is 1
  int64_t num_occurrences;
};

// The occurrences of one distinct row, as chunked_sum reads them.
template <typename T, bool kScaled>
struct OccurrenceRows {
  const Occurrences<T>& occurrences;
  const T* grad;
  int64_t dim;
  int64_t begin;

  const T* row(int64_t i) const { return grad + occurrences.source[begin + i] * dim; }
  T scale(int64_t i) const { return kScaled ? occurrences.factor[begin + i] : T(1); }
  [[gnu::always_inline]] void prefetch(int64_t i) const {
    if (begin + i < occurrences.num_occurrences) prefetch_bytes(row(i), dim * static_cast<int64_t>(sizeof(T)));
  }
};

// Requires indices below num_unique and offsets within num_positions (`in.rows`, `in.weights` and `in.default_row` are not read).
template <typename T>
inline Occurrences<T> sort_occurrences(const PoolInput<T>& in, int64_t num_unique) {
  const bool scaled =
      in.position_weights != nullptr || std::find(in.combiners, in.combiners + in.num_features, kMean) != in.combiners + in.num_features;
  Occurrences<T> sorted{std::vector<int32_t>(num_unique + 2, 0), std::make_unique_for_overwrite<int32_t[]>(in.num_positions),
                        scaled ? std::make_unique_for_overwrite<T[]>(in.num_positions) : nullptr, in.num_positions};
  // Counted two places on, summed one place on: placing an occurrence of row u moves first[u + 1] from where u begins to where it ends.
  int32_t* first = sorted.first.data();
  for (int64_t i = 0; i < in.num_positions; ++i) ++first[in.inverse[i] + 2];
  for (int64_t row = 0; row < num_unique; ++row) first[row + 2] += first[row + 1];
  const int64_t* offset = in.offsets;
  for (int64_t feature = 0; feature < in.num_features; ++feature) {
    const bool mean = in.combiners[feature] == kMean;
    for (int64_t sample = 0; sample < in.num_samples; ++sample, ++offset) {
      const auto source = static_cast<int32_t>(sample * in.num_features + feature);
      const T by = mean ? divisor<T>(in.position_weights, offset[0], offset[1]) : T(1);
      for (int64_t position = offset[0]; position < offset[1]; ++position) {
        const int32_t place = first[in.inverse[position] + 1]++;
        sorted.source[place] = source;
        if (!scaled) continue;
        const T own = in.position_weights == nullptr ? T(1) : static_cast<T>(in.position_weights[position]);
        sorted.factor[place] = by == T(0) ? T(0) : own / by;
      }
    }
  }
  return sorted;
}

// Returns the end of piece `piece` of `num_pieces`: distinct rows cut so that pieces hold about as many rows and occurrences together.
// A few popular ids have most occurrences, and they come first: equal numbers of rows would leave threads idle.
template <typename T>
inline int64_t piece_end(const Occurrences<T>& occurrences, int64_t num_unique, int64_t piece, int64_t num_pieces) {
  const int64_t work = (occurrences.num_occurrences + num_unique) * (piece + 1) / num_pieces;
  int64_t low = 0, high = num_unique;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (occurrences.first[middle] + middle < work) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// out[u] = the summed gradient of distinct rows u in [begin, end); zeros where rows[u] is negative.
template <typename T, bool kScaled>
inline void sum_occurrences(const Occurrences<T>& occurrences, const T* grad, const int32_t* rows, int64_t dim, int64_t begin, int64_t end,
                            T* out) {
  std::vector<T> chunk(dim);
  for (int64_t unique = begin; unique < end; ++unique) {
    const int64_t first = occurrences.first[unique];
    const int64_t count = rows[unique] < 0 ? 0 : occurrences.first[unique + 1] - first;
    const OccurrenceRows<T, kScaled> own{occurrences, grad, dim, first};
    if (!kScaled && count == 1) {
      own.prefetch(kRowPrefetchAhead);
      sum_one(own.row(0), dim, out + unique * dim);
    } else {
      chunked_sum<T>(own, count, dim, out + unique * dim, chunk.data());
    }
  }
}

}  // namespace sparrow
