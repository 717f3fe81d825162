// Rows of many columns cut into pieces of a fixed size: what threads share out, so that no result depends on their number.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace sparrow {

struct RowPiece {
  int64_t column, first, last;
};

constexpr int64_t kRowsPerPiece = 2048;

// Pieces of all columns, column after column; a column without rows has none.
inline std::vector<RowPiece> row_pieces(const std::vector<int64_t>& num_rows) {
  std::vector<RowPiece> pieces;
  pieces.reserve(num_rows.size());
  for (size_t column = 0; column < num_rows.size(); ++column)
    for (int64_t first = 0; first < num_rows[column]; first += kRowsPerPiece)
      pieces.push_back({static_cast<int64_t>(column), first, std::min(first + kRowsPerPiece, num_rows[column])});
  return pieces;
}

// How many elements of some levels a piece has; or where they start.
template <size_t kLevels>
using Counts = std::array<int64_t, kLevels>;

// Levels of lists a column may have.
constexpr int kMostLevels = 3;
using LevelCounts = Counts<kMostLevels>;

// Turns the counts of `pieces` into where each piece starts in its column, and returns the totals of all columns.
template <size_t kLevels>
inline std::vector<Counts<kLevels>> starts_of(const std::vector<RowPiece>& pieces, size_t num_columns,
                                              std::vector<Counts<kLevels>>& counts) {
  std::vector<Counts<kLevels>> totals(num_columns);
  for (size_t piece = 0; piece < pieces.size(); ++piece) {
    Counts<kLevels>& total = totals[pieces[piece].column];
    for (size_t level = 0; level < kLevels; ++level) {
      const int64_t count = counts[piece][level];
      counts[piece][level] = total[level];
      total[level] += count;
    }
  }
  return totals;
}

// Whether offsets[first, last + 1] start at 0 or more and never decrease.
inline bool never_decrease(const int64_t* __restrict offsets, int64_t first, int64_t last) {
  int64_t falls = 0;  // counted without leaving the loop, so that it vectorises
  for (int64_t row = first; row < last; ++row) falls += offsets[row] > offsets[row + 1];
  return falls == 0 && offsets[first] >= 0;
}

// Elements of one list that are kept: at most `length`, the first or the last of them.
struct KeptRun {
  int64_t first, count;
};

inline KeptRun kept_run(const int64_t* offsets, int64_t row, int64_t length, bool keeps_tail) {
  const int64_t first = offsets[row], size = offsets[row + 1] - first, count = std::min(size, length);
  return {first + (keeps_tail ? size - count : 0), count};
}

// How many elements the lists [first, last) keep where each keeps at most `length`.
inline int64_t count_kept(const int64_t* __restrict offsets, int64_t first, int64_t last, int64_t length) {
  int64_t kept = 0;
  for (int64_t row = first; row < last; ++row) kept += std::min(offsets[row + 1] - offsets[row], length);
  return kept;
}

}  // namespace sparrow
