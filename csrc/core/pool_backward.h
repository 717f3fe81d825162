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
  std::unique_ptr<int32_t[]> first;   // [U + 1]: row u owns occurrences [first[u], first[u + 1])
  std::unique_ptr<int32_t[]> source;  // [N]: which [D] of the gradient an occurrence receives
  std::unique_ptr<T[]> factor;        // [N]: times what; null where every factor is 1
  int64_t num_occurrences;
};

// The occurrences of one distinct row, as chunked_sum reads them. `next` is the first occurrence not prefetched yet, of this or a later
// row.
template <typename T, bool kScaled>
struct OccurrenceRows {
  const Occurrences<T>& occurrences;
  const T* grad;
  int64_t dim;
  int64_t begin;
  int64_t& next;

  const T* row(int64_t i) const { return grad + occurrences.source[begin + i] * dim; }
  T scale(int64_t i) const { return kScaled ? occurrences.factor[begin + i] : T(1); }
  [[gnu::always_inline]] void will_read(int64_t end) const {
    const int64_t wanted = std::min(begin + end + kRowPrefetchAhead, occurrences.num_occurrences);
    for (; next < wanted; ++next) prefetch_bytes(grad + occurrences.source[next] * dim, dim * static_cast<int64_t>(sizeof(T)));
  }
};

// The counting sort in parts that threads share: each owns a run of distinct rows and looks at all positions, whose rows come in runs too
// (a feature's are of one table), so that its branch is predicted. Requires indices below num_unique and offsets within num_positions
// (`in.rows`, `in.weights` and `in.default_row` are not read). Phases: count(every part), sum_parts(), place(every part).
template <typename T>
class OccurrenceSort {
 public:
  OccurrenceSort(const PoolInput<T>& in, int64_t num_unique, int64_t num_parts)
      : in_(in),
        num_unique_(num_unique),
        num_parts_(num_parts),
        scaled_(!in.one_id_each && (in.position_weights != nullptr ||
                                    std::any_of(in.combiners, in.combiners + in.num_features, [](int64_t c) { return c != kSum; }))),
        sorted_{std::make_unique_for_overwrite<int32_t[]>(num_unique + 1), std::make_unique_for_overwrite<int32_t[]>(in.num_positions),
                scaled_ ? std::make_unique_for_overwrite<T[]>(in.num_positions) : nullptr, in.num_positions},
        next_(std::make_unique_for_overwrite<int32_t[]>(num_unique)),
        before_(num_parts + 1, 0) {}

  void count(int64_t part) {
    const int64_t begin = part_begin(part), end = part_begin(part + 1);
    std::fill(next_.get() + begin, next_.get() + end, 0);
    for (int64_t i = 0; i < in_.num_positions; ++i)
      if (in_.inverse[i] >= begin && in_.inverse[i] < end) ++next_[in_.inverse[i]];
    int32_t total = 0;
    for (int64_t row = begin; row < end; ++row) {
      sorted_.first[row] = total;
      total += next_[row];
    }
    before_[part + 1] = total;
  }

  void sum_parts() {
    for (int64_t part = 0; part < num_parts_; ++part) before_[part + 1] += before_[part];
    sorted_.first[num_unique_] = static_cast<int32_t>(in_.num_positions);
  }

  void place(int64_t part) {
    const int64_t begin = part_begin(part), end = part_begin(part + 1);
    for (int64_t row = begin; row < end; ++row) next_[row] = sorted_.first[row] += before_[part];
    scaled_ ? place_scaled(begin, end) : place_plain(begin, end);
  }

  const Occurrences<T>& sorted() const { return sorted_; }

 private:
  int64_t part_begin(int64_t part) const { return num_unique_ * part / num_parts_; }

  void place_plain(int64_t begin, int64_t end) {
    for_segments([&](int32_t source, int64_t, int64_t first, int64_t last) {
      for (int64_t position = first; position < last; ++position) {
        const int32_t row = in_.inverse[position];
        if (row >= begin && row < end) sorted_.source[next_[row]++] = source;
      }
    });
  }

  void place_scaled(int64_t begin, int64_t end) {
    for_segments([&](int32_t source, int64_t combiner, int64_t first, int64_t last) {
      const T by = divisor<T>(combiner, in_.position_weights, first, last);
      for (int64_t position = first; position < last; ++position) {
        const int32_t row = in_.inverse[position];
        if (row < begin || row >= end) continue;
        const T own = in_.position_weights == nullptr ? T(1) : static_cast<T>(in_.position_weights[position]);
        sorted_.factor[next_[row]] = by == T(0) ? T(0) : own / by;
        sorted_.source[next_[row]++] = source;
      }
    });
  }

  template <typename Visit>
  [[gnu::always_inline]] void for_segments(Visit visit) const {
    const int64_t* offset = in_.offsets;
    for (int64_t feature = 0; feature < in_.num_features; ++feature)
      for (int64_t sample = 0; sample < in_.num_samples; ++sample, ++offset)
        visit(static_cast<int32_t>(sample * in_.num_features + feature), in_.combiners[feature], offset[0], offset[1]);
  }

  const PoolInput<T>& in_;
  const int64_t num_unique_, num_parts_;
  const bool scaled_;
  Occurrences<T> sorted_;
  std::unique_ptr<int32_t[]> next_;  // [U]: where the next occurrence of a row goes
  std::vector<int32_t> before_;      // [parts + 1]: occurrences of all parts before
};

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
template <int64_t kDim, typename T, bool kScaled>
inline void sum_occurrences_of(const Occurrences<T>& occurrences, const T* grad, const int32_t* rows, int64_t width, int64_t begin,
                               int64_t end, T* out) {
  const int64_t dim = kDim == 0 ? width : kDim;
  std::vector<T> chunk(dim);
  int64_t next = begin < end ? occurrences.first[begin] : 0;
  for (int64_t unique = begin; unique < end; ++unique) {
    const int64_t first = occurrences.first[unique];
    const int64_t count = rows[unique] < 0 ? 0 : occurrences.first[unique + 1] - first;
    const OccurrenceRows<T, kScaled> own{occurrences, grad, dim, first, next};
    if (!kScaled && count == 1) {
      own.will_read(1);
      sum_one(own.row(0), dim, out + unique * dim);
    } else {
      sum_segment<kDim>(own, count, dim, out + unique * dim, chunk.data());
    }
  }
}

template <typename T, bool kScaled>
inline void sum_occurrences(const Occurrences<T>& occurrences, const T* grad, const int32_t* rows, int64_t dim, int64_t begin, int64_t end,
                            T* out) {
  with_width(dim, [&](auto width) { sum_occurrences_of<width(), T, kScaled>(occurrences, grad, rows, dim, begin, end, out); });
}

}  // namespace sparrow
