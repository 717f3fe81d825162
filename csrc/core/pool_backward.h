// The gradient of pooled rows, summed per distinct row in position order.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
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

// The counting sort, in parts that threads share: each has a run of positions. Features of one table come together, so that most rows are
// of one part. Requires indices below num_unique and offsets within num_positions (`in.rows`, `in.weights` and `in.default_row` are not
// read). Phases, each for all parts or pieces before the next: count(part); total(piece); sum(); begin(piece); place(part).
template <typename T>
class OccurrenceSort {
 public:
  OccurrenceSort(const PoolInput<T>& in, int64_t num_unique, int64_t num_parts)
      : in_(in),
        num_unique_(num_unique),
        scaled_(!in.one_id_each && (in.position_weights != nullptr ||
                                    std::any_of(in.combiners, in.combiners + in.num_features, [](int64_t c) { return c != kSum; }))),
        sorted_{std::make_unique_for_overwrite<int32_t[]>(num_unique + 1), std::make_unique_for_overwrite<int32_t[]>(in.num_positions),
                scaled_ ? std::make_unique_for_overwrite<T[]>(in.num_positions) : nullptr, in.num_positions},
        parts_(num_parts),
        before_(num_parts + 1, 0) {}

  void count(int64_t part) {
    Part& own = parts_[part];
    const int64_t first = part_begin(part), last = part_begin(part + 1);
    int32_t low = INT32_MAX, high = -1;
    for (int64_t i = first; i < last; ++i) {
      low = std::min(low, in_.inverse[i]);
      high = std::max(high, in_.inverse[i]);
    }
    if (high < 0) return;
    own.begin = low, own.end = int64_t{high} + 1;
    own.next = std::make_unique<int32_t[]>(own.end - own.begin);
    int32_t* counts = own.next.get() - low;
    for (int64_t i = first; i < last; ++i) ++counts[in_.inverse[i]];
  }

  // Pieces are runs of rows, as many as there are parts.
  void total(int64_t piece) {
    int32_t total = 0;
    for_rows(piece, [&](int64_t begin, int64_t end, Part& part) {
      for (int64_t row = begin; row < end; ++row) total += part.next[row - part.begin];
    });
    before_[piece + 1] = total;
  }

  void sum() {
    for (size_t piece = 0; piece < parts_.size(); ++piece) before_[piece + 1] += before_[piece];
    sorted_.first[num_unique_] = before_.back();
  }

  void begin(int64_t piece) {
    const int64_t first = piece_begin(piece), last = piece_begin(piece + 1);
    int32_t* own = sorted_.first.get();
    std::fill(own + first, own + last, 0);
    for_rows(piece, [&](int64_t begin, int64_t end, Part& part) {
      for (int64_t row = begin; row < end; ++row) own[row] += part.next[row - part.begin];
    });
    int32_t next = before_[piece];
    for (int64_t row = first; row < last; ++row) next += std::exchange(own[row], next);
    // The occurrences of a part go behind those of the parts before it.
    std::vector<int32_t> cursor(own + first, own + last);
    for_rows(piece, [&](int64_t begin, int64_t end, Part& part) {
      for (int64_t row = begin; row < end; ++row) {
        const int32_t count = std::exchange(part.next[row - part.begin], cursor[row - first]);
        cursor[row - first] += count;
      }
    });
  }

  void place(int64_t part) {
    Part& own = parts_[part];
    if (own.begin == own.end) return;
    int32_t* next = own.next.get() - own.begin;
    for_segments(part_begin(part), part_begin(part + 1),
                 [&](int32_t source, int64_t combiner, int64_t segment, int64_t first, int64_t last) {
                   if (!scaled_) {
                     for (int64_t position = first; position < last; ++position) sorted_.source[next[in_.inverse[position]]++] = source;
                     return;
                   }
                   const T by = divisor<T>(combiner, in_.position_weights, in_.offsets[segment], in_.offsets[segment + 1]);
                   for (int64_t position = first; position < last; ++position) {
                     const int32_t place = next[in_.inverse[position]]++;
                     const T weight = in_.position_weights == nullptr ? T(1) : static_cast<T>(in_.position_weights[position]);
                     sorted_.factor[place] = by == T(0) ? T(0) : weight / by;
                     sorted_.source[place] = source;
                   }
                 });
  }

  const Occurrences<T>& sorted() const { return sorted_; }

 private:
  // The rows that a part's positions name lie in [begin, end).
  struct Part {
    int64_t begin = 0, end = 0;
    std::unique_ptr<int32_t[]> next;  // of each of them: how often it occurs in the part, then where its next occurrence goes
  };

  int64_t part_begin(int64_t part) const { return in_.num_positions * part / static_cast<int64_t>(parts_.size()); }
  int64_t piece_begin(int64_t piece) const { return num_unique_ * piece / static_cast<int64_t>(parts_.size()); }

  // Calls visit(begin, end, part) for the rows of a piece that each part names, part by part.
  template <typename Visit>
  void for_rows(int64_t piece, Visit visit) {
    for (Part& part : parts_) {
      const int64_t begin = std::max(piece_begin(piece), part.begin), end = std::min(piece_begin(piece + 1), part.end);
      if (begin < end) visit(begin, end, part);
    }
  }

  // Calls visit(source, combiner, segment, begin, end) for the positions of each segment that lie in [first, last).
  template <typename Visit>
  [[gnu::always_inline]] void for_segments(int64_t first, int64_t last, Visit visit) const {
    const int64_t* offsets = in_.offsets;
    const int64_t num_segments = in_.num_features * in_.num_samples;
    int64_t segment = std::upper_bound(offsets, offsets + num_segments, first) - offsets - 1;
    int64_t feature = segment / in_.num_samples, sample = segment % in_.num_samples;
    for (; segment < num_segments && offsets[segment] < last; ++segment) {
      visit(static_cast<int32_t>(sample * in_.num_features + feature), in_.combiners[feature], segment, std::max(first, offsets[segment]),
            std::min(last, offsets[segment + 1]));
      if (++sample == in_.num_samples) sample = 0, ++feature;
    }
  }

  const PoolInput<T>& in_;
  const int64_t num_unique_;
  const bool scaled_;
  Occurrences<T> sorted_;
  std::vector<Part> parts_;
  std::vector<int32_t> before_;  // [pieces + 1]: occurrences of all pieces before
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
