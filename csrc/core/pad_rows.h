// Rows of lists -> dense rows of fixed lengths: longer lists are cut, shorter ones filled up.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "core/item_runs.h"
#include "core/row_pieces.h"

namespace sparrow {

template <typename Word>
struct PaddedColumn {
  int num_levels;
  int64_t lengths[kMostLevels];     // of a list of each level, outermost first
  int64_t list_words[kMostLevels];  // words of a padded list of each level
  bool keeps_tail, fills_begin;
  const int64_t* offsets[kMostLevels];
  const Word* values;  // null: every element is written as `present`
  const Word* values_end;
  Word present, padding;
  Word* out;
};

// Writes `count` times `value`; up to a step too many where there is room before `end`: what follows must be written afterwards.
template <typename Word>
inline void fill_run(Word* out, const Word* end, Word value, int64_t count) {
  constexpr int64_t kStep = kStepBytes / static_cast<int64_t>(sizeof(Word));
  const int64_t whole = (count + kStep - 1) / kStep * kStep;
  if (end - out < whole) {
    std::fill_n(out, count, value);
    return;
  }
  Word step[kStep];
  for (Word& word : step) word = value;
  for (int64_t done = 0; done < whole; done += kStep) std::memcpy(out + done, step, kStepBytes);
}

// Writes list `list` of level kLevel at `out`, in order of address; `end` is where the piece ends.
template <int kLevel, typename Word>
inline void pad_list(const PaddedColumn<Word>& column, int64_t list, Word* out, const Word* end) {
  const auto [first, count] = kept_run(column.offsets[kLevel], list, column.lengths[kLevel], column.keeps_tail);
  const bool is_innermost = kLevel == kMostLevels - 1 || kLevel == column.num_levels - 1;
  const int64_t item_words = is_innermost ? 1 : column.list_words[std::min(kLevel + 1, kMostLevels - 1)];
  const int64_t missing = (column.lengths[kLevel] - count) * item_words;
  if (column.fills_begin) {
    fill_run(out, end, column.padding, missing);
    out += missing;
  }
  if (is_innermost && column.values == nullptr) {
    fill_run(out, end, column.present, count);
  } else if (is_innermost) {
    copy_run(reinterpret_cast<char*>(out), reinterpret_cast<const char*>(end), reinterpret_cast<const char*>(column.values + first),
             reinterpret_cast<const char*>(column.values_end), count * static_cast<int64_t>(sizeof(Word)));
  } else if constexpr (kLevel + 1 < kMostLevels) {
    for (int64_t i = 0; i < count; ++i) pad_list<kLevel + 1>(column, first + i, out + i * item_words, end);
  }
  if (!column.fills_begin) fill_run(out + count * item_words, end, column.padding, missing);
}

// Writes rows [first, last).
template <typename Word>
inline void pad_piece(const PaddedColumn<Word>& column, int64_t first, int64_t last) {
  const int64_t row_words = column.list_words[0];
  const Word* end = column.out + last * row_words;
  for (int64_t row = first; row < last; ++row) pad_list<0>(column, row, column.out + row * row_words, end);
}

}  // namespace sparrow
