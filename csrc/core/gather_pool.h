// Rows pooled by segment: sums or means of the rows that a feature's ids name.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/blocks.h"
#include "core/segment_sum.h"

namespace sparrow {

enum Combiner : int64_t { kSum = 0, kMean = 1 };

// Samples pooled for one feature before the next: few enough to share out evenly, enough for a feature's popular rows to stay in L1.
constexpr int64_t kBlockSamples = 512;
// Outputs at least this large are written past the caches: smaller ones are still there when they are read.
constexpr int64_t kStreamBytes = int64_t{1} << 23;

template <typename T>
struct PoolInput {
  Blocks<T> weights;
  const T* default_row;
  const int32_t* rows;            // [U]
  const int32_t* inverse;         // [N]
  const int64_t* offsets;         // [F * num_samples + 1]
  const float* position_weights;  // [N] or null
  const int64_t* combiners;       // [F]
  int64_t num_positions;
  int64_t num_features;
  int64_t num_samples;
  int64_t dim;

  const T* row(int64_t position) const {
    const int32_t index = rows[inverse[position]];
    return index < 0 ? default_row : weights.row(index);
  }
};

// The rows of one segment, as chunked_sum reads them.
template <typename T, bool kWeighted>
struct SegmentRows {
  const PoolInput<T>& in;
  int64_t begin;

  const T* row(int64_t i) const { return in.row(begin + i); }
  T scale(int64_t i) const { return kWeighted ? static_cast<T>(in.position_weights[begin + i]) : T(1); }
  [[gnu::always_inline]] void prefetch(int64_t i) const {
    // Beyond the segment lie those pooled next.
    if (begin + i < in.num_positions) prefetch_bytes(in.row(begin + i), in.dim * static_cast<int64_t>(sizeof(T)));
  }
};

// The weights of one segment, as rows of one value.
template <typename T>
struct SegmentWeights {
  const float* position_weights;
  mutable T value;

  const T* row(int64_t i) const { return value = static_cast<T>(position_weights[i]), &value; }
  T scale(int64_t) const { return T(1); }
  [[gnu::always_inline]] void prefetch(int64_t) const {}
};

// Divisor of a mean: the number of ids, or the sum of their weights in the order of chunked_sum.
template <typename T>
inline T divisor(const float* position_weights, int64_t begin, int64_t end) {
  if (position_weights == nullptr) return static_cast<T>(end - begin);
  T total, chunk;
  chunked_sum<T>(SegmentWeights<T>{position_weights + begin, T(0)}, end - begin, 1, &total, &chunk);
  return total;
}

// out[0, dim) of segment [begin, end). chunk is scratch of dim values.
template <typename T, bool kWeighted>
inline void pool_segment(const PoolInput<T>& in, int64_t begin, int64_t end, int64_t combiner, T* __restrict__ out, T* chunk) {
  const SegmentRows<T, kWeighted> rows{in, begin};
  if (!kWeighted && end - begin == 1) {  // x / 1 is x: sum and mean agree
    rows.prefetch(kRowPrefetchAhead);
    return sum_one(rows.row(0), in.dim, out);
  }
  chunked_sum<T>(rows, end - begin, in.dim, out, chunk);
  if (combiner != kMean || begin == end) return;
  const T by = divisor<T>(in.position_weights, begin, end);
  if (by == T(0)) return std::fill(out, out + in.dim, T(0));
  for (int64_t column = 0; column < in.dim; ++column) out[column] /= by;
}

// Tasks of gather_pool: one feature of one block of samples each, features of a block side by side.
template <typename T>
inline int64_t num_pool_tasks(const PoolInput<T>& in) {
  return (in.num_samples + kBlockSamples - 1) / kBlockSamples * in.num_features;
}

// Pools the segments of tasks [first, last) into out [num_samples, F, dim].
template <typename T, bool kWeighted>
inline void pool_tasks(const PoolInput<T>& in, int64_t first, int64_t last, T* out) {
  const int64_t row_bytes = in.dim * static_cast<int64_t>(sizeof(T));
  // Part of a cache line written past the caches costs a read of the line from memory.
  const bool stream = in.num_samples * in.num_features * row_bytes >= kStreamBytes && row_bytes % kCacheLineBytes == 0 &&
                      reinterpret_cast<uintptr_t>(out) % kCacheLineBytes == 0;
  std::vector<T> scratch(2 * in.dim);
  for (int64_t task = first; task < last; ++task) {
    const int64_t feature = task % in.num_features;
    const int64_t first_sample = task / in.num_features * kBlockSamples;
    const int64_t last_sample = std::min(first_sample + kBlockSamples, in.num_samples);
    const int64_t* offsets = in.offsets + feature * in.num_samples;
    for (int64_t sample = first_sample; sample < last_sample; ++sample) {
      T* target = out + (sample * in.num_features + feature) * in.dim;
      T* pooled = stream ? scratch.data() : target;
      pool_segment<T, kWeighted>(in, offsets[sample], offsets[sample + 1], in.combiners[feature], pooled, scratch.data() + in.dim);
      if (stream) stream_row(pooled, in.dim, target);
    }
  }
  if (stream) end_streaming();
}

}  // namespace sparrow
