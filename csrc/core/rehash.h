// Rebuilding ranges: the living ids of a table's old ranges into new ones, in line order; rows keep their numbers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/id_map.h"

namespace sparrow {

// Living ids and their rows, in line order; and the fill of the lines they go to. Kept between calls: fresh pages cost as much as the work.
struct RehashScratch {
  std::vector<int64_t> ids;
  std::vector<int32_t> rows;
  std::vector<uint8_t> fill;
  int64_t num_living = 0;

  void start(int64_t most_living) {
    // One more: what does not count is written and overwritten.
    if (static_cast<int64_t>(ids.size()) <= most_living) ids.resize(most_living + 1), rows.resize(most_living + 1);
    num_living = 0;
  }

  void append(const Line* lines, const Range& range) {
    for (const Line* line = lines + range.first_line; line != lines + range.first_line + range.num_lines; ++line) {
      // Without a branch: how many slots of a line are taken is random.
      for (int slot = 0; slot < kIdsPerLine; ++slot) {
        ids[num_living] = line->ids[slot];
        rows[num_living] = line->rows[slot];
        num_living += static_cast<int>(line->ids[slot] != kEmpty) & static_cast<int>(line->rows[slot] != kNoRow);
      }
    }
  }

  // Frees what a rare, large table took.
  void finish() {
    constexpr size_t kMostKept = size_t{1} << 22;
    if (ids.size() > kMostKept) *this = RehashScratch();
  }
};

// Fills `range` with ids [first, last) of the scratch, all of them its own and no more than fit. Line order is mix order but for the
// displaced few, so both sides are walked nearly sequentially, and lines are emptied just before they are written.
inline void place(const IdMap& map, const TableHeader& table, Range& range, RehashScratch& from, int64_t first, int64_t last) {
  constexpr int64_t kEmptied = 128;  // lines at a time
  const auto num_lines = static_cast<uint64_t>(range.num_lines);
  Line* lines = map.lines + range.first_line;
  from.fill.assign(num_lines, 0);
  uint64_t emptied = 0;
  const auto empty_through = [&](uint64_t line) {
    while (emptied <= line && emptied < num_lines) {
      const uint64_t end = std::min(emptied + kEmptied, num_lines);
      std::fill(reinterpret_cast<int64_t*>(lines + emptied), reinterpret_cast<int64_t*>(lines + end), kEmpty);
      emptied = end;
    }
  };
  for (int64_t i = first; i < last; ++i) {
    const Home home = home_of(map, table, from.ids[i]);
    uint64_t position = home.line;
    if (from.fill[position] == kIdsPerLine) {
      position = (position + 1 + (home.mixed & (kJumpLines - 1))) % num_lines;
      while (from.fill[position] == kIdsPerLine) position = (position + 1) % num_lines;
    }
    empty_through(position);
    const int slot = from.fill[position]++;
    lines[position].ids[slot] = from.ids[i];
    lines[position].rows[slot] = from.rows[i];
  }
  empty_through(num_lines);
  range.num_keys = last - first;
  range.num_dead = 0;
}

// Brings the ids of each of num_ranges ranges of the table together, in order; returns where each begins, and the end.
inline std::vector<int64_t> sort_by_range(const IdMap& map, const TableHeader& table, int64_t num_ranges, RehashScratch& living) {
  std::vector<int64_t> begin(num_ranges + 1, 0);
  std::vector<int32_t> range(living.num_living);
  for (int64_t i = 0; i < living.num_living; ++i) {
    range[i] = static_cast<int32_t>(home_of(map, table, living.ids[i]).range - map.ranges - table.first_range);
    ++begin[range[i] + 1];
  }
  for (int64_t i = 0; i < num_ranges; ++i) begin[i + 1] += begin[i];
  std::vector<int64_t> next = begin, ids(living.num_living);
  std::vector<int32_t> rows(living.num_living);
  for (int64_t i = 0; i < living.num_living; ++i) {
    const int64_t to = next[range[i]]++;
    ids[to] = living.ids[i], rows[to] = living.rows[i];
  }
  std::copy(ids.begin(), ids.end(), living.ids.begin());
  std::copy(rows.begin(), rows.end(), living.rows.begin());
  return begin;
}

}  // namespace sparrow
