// Rows pooled by segment: sums or means of the rows that a feature's ids name.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "core/blocks.h"
#include "core/segment_sum.h"

namespace sparrow {

enum Combiner : int64_t { kSum = 0, kMean = 1 };
constexpr int64_t kRowPrefetchAhead = 48;

template <typename T>
struct PoolInput {
  Blocks<T> weights;
  const T* default_row;
  const int32_t* rows;            // [U]
  const int32_t* inverse;         // [N]
  const int64_t* offsets;         // [F * samples + 1]
  const float* position_weights;  // [N] or null
  int64_t num_positions;
  int64_t dim;

  const T* row(int64_t position) const {
    const int32_t index = rows[inverse[position]];
    return index < 0 ? default_row : weights.row(index);
  }
  void prefetch(int64_t position) const {
    if (position < num_positions) __builtin_prefetch(row(position), 0, 2);
  }
};

// Divisor of a mean: the number of ids, or the sum of their weights in the order of chunked_sum.
template <typename T>
inline T divisor(const float* position_weights, int64_t begin, int64_t end) {
  if (position_weights == nullptr) return static_cast<T>(end - begin);
  T total, chunk;
  T value;
  auto weight = [&](int64_t i) {
    value = static_cast<T>(position_weights[begin + i]);
    return static_cast<const T*>(&value);
  };
  chunked_sum<T>(end - begin, 1, weight, [](int64_t) { return T(1); }, &total, &chunk);
  return total;
}

// out[0, dim) of the segment [begin, end). chunk is scratch of dim values.
template <typename T>
inline void pool_segment(const PoolInput<T>& in, int64_t begin, int64_t end, int64_t combiner, T* out, T* chunk) {
  if (end - begin == 1 && in.position_weights == nullptr) {
    // 0 + 1 * x and x / 1 are x, but for the sign of a zero, which adding to +0 makes positive.
    const T* value = in.row(begin);
    for (int64_t column = 0; column < in.dim; ++column) out[column] = T(0) + value[column];
    in.prefetch(begin + kRowPrefetchAhead);
    return;
  }
  auto row = [&](int64_t i) {
    in.prefetch(begin + i + kRowPrefetchAhead);
    return in.row(begin + i);
  };
  auto scale = [&](int64_t i) { return in.position_weights == nullptr ? T(1) : static_cast<T>(in.position_weights[begin + i]); };
  chunked_sum<T>(end - begin, in.dim, row, scale, out, chunk);
  if (combiner != kMean || begin == end) return;
  const T by = divisor<T>(in.position_weights, begin, end);
  for (int64_t column = 0; column < in.dim; ++column) out[column] = by == T(0) ? T(0) : out[column] / by;
}

}  // namespace sparrow
