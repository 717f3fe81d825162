// The gradients of each distinct row, found by all threads, and distinct rows shared out among them.
#pragma once

#include <algorithm>

#include "core/pool_backward.h"
#include "ops/operator.h"
#include "ops/pool_access.h"

namespace sparrow {

template <typename T>
OccurrenceSort<T> sort_occurrences(const PoolInput<T>& in, int64_t num_unique) {
  constexpr int64_t kPositionsPerThread = 4096, kMostParts = 12;
  const int64_t num_parts =
      std::clamp<int64_t>(in.num_positions / kPositionsPerThread, 1, std::min<int64_t>(kMostParts, torch::stable::get_num_threads()));
  OccurrenceSort<T> sort(in, num_unique, num_parts);
  const auto each_part = [num_parts](auto phase) {
    parallel_for(0, num_parts, 1, [&](int64_t first, int64_t last) {
      for (int64_t part = first; part < last; ++part) phase(part);
    });
  };
  each_part([&](int64_t part) { sort.count(part); });
  each_part([&](int64_t piece) { sort.total(piece); });
  sort.sum();
  each_part([&](int64_t piece) { sort.begin(piece); });
  each_part([&](int64_t part) { sort.place(part); });
  return sort;
}

// Calls f(begin, end) for runs of distinct rows of about equal work, by all threads; a small problem is one thread's.
template <typename T, typename F>
void for_distinct_rows(const Occurrences<T>& occurrences, int64_t num_unique, F f) {
  constexpr int64_t kPieces = 64, kRowsPerThread = 2048;
  const int64_t grain = std::max<int64_t>(1, kPieces * kRowsPerThread / std::max<int64_t>(1, occurrences.num_occurrences + num_unique));
  parallel_for(0, kPieces, grain, [&](int64_t first, int64_t last) {
    const int64_t begin = first == 0 ? 0 : piece_end(occurrences, num_unique, first - 1, kPieces);
    f(begin, last == kPieces ? num_unique : piece_end(occurrences, num_unique, last - 1, kPieces));
  });
}

}  // namespace sparrow
