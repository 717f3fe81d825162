// Rows pooled by segment: sums, means or root-mean-square-scaled sums of the rows that a feature's ids name.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "core/blocks.h"
#include "core/half.h"
#include "core/segment_sum.h"

namespace sparrow {

enum Combiner : int64_t { kSum = 0, kMean = 1, kSqrtN = 2 };

// Samples pooled for one feature before the next: few enough to share out evenly, enough for a feature's popular rows to stay in L1.
constexpr int64_t kBlockSamples = 512;
// Outputs at least this large are written past the caches: smaller ones are still there when they are read.
constexpr int64_t kStreamBytes = int64_t{1} << 23;

// W is the type weights are stored in; sums are of Compute<W>.
template <typename W>
struct PoolInput {
  Blocks<W> weights;
  const W* default_row;
  const int32_t* rows;            // [U]
  const int32_t* inverse;         // [N]
  const int64_t* offsets;         // [F * num_samples + 1]
  const float* position_weights;  // [N] or null
  const int64_t* combiners;       // [F]
  int64_t num_positions;
  int64_t num_features;
  int64_t num_samples;
  int64_t dim;
  bool one_id_each;  // every segment is one position, in order, without weights

  const W* row(int64_t position) const {
    const int32_t index = rows[inverse[position]];
    return index < 0 ? default_row : weights.row(index);
  }
};

// The rows of positions [begin, end), each found once and prefetched kRowPrefetchAhead before it is read, across segments.
template <typename W, int64_t kDim>
class RowStream {
 public:
  RowStream(const PoolInput<W>& in, int64_t begin, int64_t end) : in_(in), next_(begin), end_(end) {}

  // To be called before rows of positions below `end` are asked for, of the last kChunkRows of them.
  [[gnu::always_inline]] void will_read(int64_t end) {
    const int64_t wanted = std::min(end + kRowPrefetchAhead, end_);
    for (; next_ < wanted; ++next_) {
      const W* row = in_.row(next_);
      rows_[next_ % kSize] = row;
      prefetch_bytes(row, (kDim == 0 ? in_.dim : kDim) * static_cast<int64_t>(sizeof(W)));
    }
  }

  const W* row(int64_t position) const { return rows_[position % kSize]; }

 private:
  static constexpr uint64_t kSize = 512;
  static_assert(kSize >= kChunkRows + kRowPrefetchAhead);

  const PoolInput<W>& in_;
  int64_t next_, end_;
  const W* rows_[kSize];
};

// The rows of one segment, as chunked_sum reads them.
template <typename W, int64_t kDim, bool kWeighted>
struct SegmentRows {
  RowStream<W, kDim>& stream;
  const float* position_weights;
  int64_t begin;

  const W* row(int64_t i) const { return stream.row(begin + i); }
  Compute<W> scale(int64_t i) const { return kWeighted ? static_cast<Compute<W>>(position_weights[begin + i]) : Compute<W>(1); }
  [[gnu::always_inline]] void will_read(int64_t end) const { stream.will_read(begin + end); }
};

// The weights of one segment, or their squares, as rows of one value.
template <typename T, bool kSquared>
struct SegmentWeights {
  const float* position_weights;
  mutable T value;

  const T* row(int64_t i) const {
    const T weight = static_cast<T>(position_weights[i]);
    return value = kSquared ? weight * weight : weight, &value;
  }
  T scale(int64_t) const { return T(1); }
  void will_read(int64_t) const {}
};

// What a combiner divides the sum of a segment by, sums of weights in the order of chunked_sum: mean by the weights, sqrtn by the root of
// their squares; without weights each is 1.
template <typename T>
inline T divisor(int64_t combiner, const float* position_weights, int64_t begin, int64_t end) {
  if (combiner == kSum) return T(1);
  T total = static_cast<T>(end - begin), chunk;
  if (position_weights != nullptr && combiner == kMean)
    chunked_sum<T>(SegmentWeights<T, false>{position_weights + begin, T(0)}, end - begin, 1, &total, &chunk);
  if (position_weights != nullptr && combiner == kSqrtN)
    chunked_sum<T>(SegmentWeights<T, true>{position_weights + begin, T(0)}, end - begin, 1, &total, &chunk);
  return combiner == kSqrtN ? std::sqrt(total) : total;
}

// out[0, dim) of segment [begin, end). chunk is scratch of dim values. kDim is the width, or 0 for any, here and below.
template <int64_t kDim, typename W, bool kWeighted, typename T = Compute<W>>
inline void pool_segment(const PoolInput<W>& in, RowStream<W, kDim>& stream, int64_t begin, int64_t end, int64_t combiner,
                         T* __restrict__ out, T* chunk) {
  const int64_t dim = kDim == 0 ? in.dim : kDim;
  const SegmentRows<W, kDim, kWeighted> rows{stream, in.position_weights, begin};
  if (!kWeighted && end - begin == 1) {  // x / 1 is x: the combiners agree
    rows.will_read(1);
    return sum_one(rows.row(0), dim, out);
  }
  sum_segment<kDim>(rows, end - begin, dim, out, chunk);
  if (combiner == kSum || begin == end) return;
  const T by = divisor<T>(combiner, in.position_weights, begin, end);
  if (by == T(0)) return std::fill(out, out + dim, T(0));
  for (int64_t column = 0; column < dim; ++column) out[column] /= by;
}

// Tasks of gather_pool: one feature of one block of samples each, features of a block side by side.
template <typename W>
inline int64_t num_pool_tasks(const PoolInput<W>& in) {
  return (in.num_samples + kBlockSamples - 1) / kBlockSamples * in.num_features;
}

// Whether rows of the output are written past the caches: part of a cache line written so costs a read of the line from memory.
template <typename T>
inline bool streams(const T* out, int64_t num_rows, int64_t dim) {
  const int64_t row_bytes = dim * static_cast<int64_t>(sizeof(T));
  return num_rows * row_bytes >= kStreamBytes && row_bytes % kCacheLineBytes == 0 &&
         reinterpret_cast<uintptr_t>(out) % kCacheLineBytes == 0;
}

// Pools the segments of tasks [first, last) into out [num_samples, F, dim].
template <int64_t kDim, typename W, bool kWeighted, typename T = Compute<W>>
inline void pool_tasks_of(const PoolInput<W>& in, int64_t first, int64_t last, T* out) {
  const bool stream = streams(out, in.num_samples * in.num_features, in.dim);
  std::vector<T> scratch(2 * in.dim);
  for (int64_t task = first; task < last; ++task) {
    const int64_t feature = task % in.num_features;
    const int64_t first_sample = task / in.num_features * kBlockSamples;
    const int64_t last_sample = std::min(first_sample + kBlockSamples, in.num_samples);
    const int64_t* offsets = in.offsets + feature * in.num_samples;
    RowStream<W, kDim> rows(in, offsets[first_sample], offsets[last_sample]);
    for (int64_t sample = first_sample; sample < last_sample; ++sample) {
      T* target = out + (sample * in.num_features + feature) * in.dim;
      T* pooled = stream ? scratch.data() : target;
      pool_segment<kDim, W, kWeighted>(in, rows, offsets[sample], offsets[sample + 1], in.combiners[feature], pooled,
                                       scratch.data() + in.dim);
      if (stream) stream_row(pooled, in.dim, target);
    }
  }
  if (stream) end_streaming();
}

template <typename W, bool kWeighted, typename T = Compute<W>>
inline void pool_tasks(const PoolInput<W>& in, int64_t first, int64_t last, T* out) {
  with_width(in.dim, [&](auto width) { pool_tasks_of<width(), W, kWeighted>(in, first, last, out); });
}

// target = row, widened.
template <int64_t kDim, typename W, typename T>
[[gnu::always_inline]] inline void write_row(const W* __restrict__ row, int64_t width, T* __restrict__ target, bool stream) {
  const int64_t dim = kDim == 0 ? width : kDim;
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<W, float> && kDim % 16 == 0 && kDim != 0) {
    for (int64_t column = 0; column < dim; column += 16) {
      const __m512 values = _mm512_add_ps(_mm512_setzero_ps(), _mm512_loadu_ps(row + column));
      stream ? _mm512_stream_ps(target + column, values) : _mm512_storeu_ps(target + column, values);
    }
    return;
  }
#endif
  if (!stream) return sum_one(row, dim, target);
  constexpr int64_t kPiece = 16;  // of a streamed row, whole cache lines
  for (int64_t column = 0; column < dim; column += kPiece) {
    alignas(kCacheLineBytes) T piece[kPiece];
    sum_one(row + column, kPiece, piece);
    stream_row(piece, kPiece, target + column);
  }
}

// One id a segment: samples [first, last), features of a sample side by side, so that the output is written in order.
template <int64_t kDim, typename W, typename T = Compute<W>>
inline void gather_samples_of(const PoolInput<W>& in, int64_t first, int64_t last, T* out) {
  const bool stream = streams(out, in.num_samples * in.num_features, in.dim);
  const int64_t row_bytes = in.dim * static_cast<int64_t>(sizeof(W));
  // Each row is found once, prefetched, and kept in a ring until it is read.
  const W* ring[kRowPrefetchAhead];
  int64_t ahead_sample = first, ahead_feature = 0;
  const auto find_next = [&](int64_t place) __attribute__((always_inline)) {
    if (ahead_sample >= last) return;
    ring[place] = in.row(ahead_feature * in.num_samples + ahead_sample);
    prefetch_bytes(ring[place], row_bytes);
    if (++ahead_feature == in.num_features) ahead_feature = 0, ++ahead_sample;
  };
  for (int64_t i = 0; i < kRowPrefetchAhead; ++i) find_next(i);
  T* target = out + first * in.num_features * in.dim;
  const int64_t num_rows = (last - first) * in.num_features;
  for (int64_t i = 0; i < num_rows; ++i, target += in.dim) {
    const W* row = ring[i % kRowPrefetchAhead];
    write_row<kDim>(row, in.dim, target, stream);
    find_next(i % kRowPrefetchAhead);
  }
  if (stream) end_streaming();
}

template <typename W, typename T = Compute<W>>
inline void gather_samples(const PoolInput<W>& in, int64_t first, int64_t last, T* out) {
  with_width(in.dim, [&](auto width) { gather_samples_of<width()>(in, first, last, out); });
}

}  // namespace sparrow
