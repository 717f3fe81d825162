// Lists of one level of a ragged column cut to a length; levels above keep their structure, deeper ones and the items follow.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/item_runs.h"
#include "core/row_pieces.h"

namespace sparrow {

// Whether lists that are shorter get empty lists up to the length, and where.
enum class EmptyLists : int64_t { kNone, kAtEnd, kAtBegin };

// Levels are counted from the one that is cut.
struct CutColumn {
  int num_levels;
  int64_t length;
  bool keeps_tail;
  EmptyLists added;
  const int64_t* offsets[kMostLevels];
  int64_t* out_offsets[kMostLevels];
  ItemRuns values, weights;
};

// How many elements lists [first, last) of the cut level have after the cut, of that level and of those below it.
inline LevelCounts count_cut(const CutColumn& column, int64_t first, int64_t last) {
  LevelCounts counts{};
  if (column.num_levels == 1) {
    counts[0] = count_kept(column.offsets[0], first, last, column.length);
    return counts;
  }
  for (int64_t row = first; row < last; ++row) {
    auto [begin, count] = kept_run(column.offsets[0], row, column.length, column.keeps_tail);
    counts[0] += column.added == EmptyLists::kNone ? count : column.length;
    for (int level = 1; level < column.num_levels; ++level) {
      const int64_t* offsets = column.offsets[level];
      const int64_t next = offsets[begin];
      count = offsets[begin + count] - next;
      begin = next;
      counts[level] += count;
    }
  }
  return counts;
}

// Writes where `count` lists from `offsets` on start if the first starts at `start`. Returns how many elements they have.
inline int64_t move_offsets(const int64_t* __restrict offsets, int64_t count, int64_t start, int64_t* __restrict out) {
  const int64_t shift = start - offsets[0];
  for (int64_t i = 0; i < count; ++i) out[i] = offsets[i] + shift;
  return offsets[count] - offsets[0];
}

template <int kLevels>
inline void cut_piece(const CutColumn& column, int64_t first, int64_t last, LevelCounts at, const LevelCounts& stop) {
  for (int64_t row = first; row < last; ++row) {
    auto [begin, count] = kept_run(column.offsets[0], row, column.length, column.keeps_tail);
    column.out_offsets[0][row] = at[0];
    int64_t num_lists = count;
    for (int level = 1; level < kLevels; ++level) {
      int64_t* out = column.out_offsets[level] + at[level - 1];
      const int64_t missing = level == 1 && column.added != EmptyLists::kNone ? column.length - count : 0;
      if (column.added == EmptyLists::kAtBegin) out = std::fill_n(out, missing, at[level]);
      const int64_t num_elements = move_offsets(column.offsets[level] + begin, count, at[level], out);
      if (column.added == EmptyLists::kAtEnd) std::fill_n(out + count, missing, at[level] + num_elements);
      at[level - 1] += num_lists + missing;
      begin = column.offsets[level][begin];
      num_lists = count = num_elements;
    }
    column.values.copy(begin, count, at[kLevels - 1], stop[kLevels - 1]);
    if (column.weights.from != nullptr) column.weights.copy(begin, count, at[kLevels - 1], stop[kLevels - 1]);
    at[kLevels - 1] += count;
  }
}

// Writes lists [first, last) of the cut level, whose elements go to [at, stop) of each level: offsets but for the last of all, and items.
inline void write_cut(const CutColumn& column, int64_t first, int64_t last, const LevelCounts& at, const LevelCounts& stop) {
  switch (column.num_levels) {
    case 1: return cut_piece<1>(column, first, last, at, stop);
    case 2: return cut_piece<2>(column, first, last, at, stop);
    default: return cut_piece<3>(column, first, last, at, stop);
  }
}

}  // namespace sparrow
