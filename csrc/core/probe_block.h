// Probing many ids: home lines of the next block are on their way from memory while this one is looked at.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/id_map.h"

namespace sparrow {

// Lines in flight are 64 to 128: enough to keep the memory busy; into L2, since so many would evict each other from L1.
constexpr int64_t kProbeBlock = 64;

// The ids of one call and the tables they belong to.
struct Ids {
  const int64_t* ids;
  const int64_t* table_offsets;  // [T + 1]
};

// The first table whose ids end after `position`.
inline int64_t table_of(const Ids& in, int64_t num_tables, int64_t position) {
  return std::upper_bound(in.table_offsets + 1, in.table_offsets + num_tables, position) - (in.table_offsets + 1);
}

// Where the ids of one block may be: their home lines, prefetched.
struct ProbeBlock {
  Line* home[kProbeBlock];
  Range* range[kProbeBlock];
  int32_t table[kProbeBlock];

  [[gnu::always_inline]] void put(int64_t index, const Home& at, int64_t table_index) {
    home[index] = at.lines + at.line;
    range[index] = at.range;
    table[index] = static_cast<int32_t>(table_index);
    __builtin_prefetch(home[index], 0, 2);
  }

  // Takes positions [first, last). `table_cursor` is the table of `first`, and becomes that of the last.
  [[gnu::always_inline]] void locate(const IdMap& map, const Ids& in, int64_t first, int64_t last, int64_t& table_cursor) {
    for (int64_t position = first; position < last;) {
      while (in.table_offsets[table_cursor + 1] <= position) ++table_cursor;
      const TableHeader header = map.tables[table_cursor];
      const int64_t end = std::min(last, in.table_offsets[table_cursor + 1]);
      for (; position < end; ++position) put(position - first, home_of(map, header, in.ids[position]), table_cursor);
    }
  }

  // Writes the rows of the `size` ids at `positions` that are living ids of their home lines, and negative ones for the others, whose
  // indices go to `late`. Returns how many those are. No branch depends on which: they are dealt with together, later.
  [[gnu::always_inline]] int probe(const IdMap& map, const int64_t* ids, const int32_t* positions, int64_t size, int32_t* rows,
                                   int32_t* late) const {
    int num_late = 0;
    for (int64_t i = 0; i < size; ++i) {
      const int64_t id = ids[positions[i]];
      const int32_t row = home[i]->rows[slot_in(*home[i], id)];
      rows[positions[i]] = row;
      late[num_late] = static_cast<int32_t>(i);
      num_late += static_cast<int>(row < 0) | static_cast<int>(id == kEmpty);
    }
    for (int i = 0; i < num_late; ++i) prefetch_jump(ids[positions[late[i]]], late[i], map);
    return num_late;
  }

  // The line that an id goes to where its home line is full.
  [[gnu::always_inline]] void prefetch_jump(int64_t id, int32_t index, const IdMap& map) const {
    if (slot_in(*home[index], kEmpty) < kIdsPerLine) return;
    const uint64_t mixed = mix(static_cast<uint64_t>(id), static_cast<uint64_t>(map.tables[table[index]].salt));
    const Range& own = *range[index];
    const int64_t next = home[index] - (map.lines + own.first_line) + 1 + static_cast<int64_t>(mixed & (kJumpLines - 1));
    __builtin_prefetch(map.lines + own.first_line + (next < own.num_lines ? next : next % own.num_lines), 0, 3);
  }
};

// Calls missed(position, table, range, home line) in order for every position of [first, last) whose id is not a living id of its home
// line, and writes rows[position] of all others.
template <typename Missed>
[[gnu::always_inline]] inline void probe_positions(const IdMap& map, const Ids& in, int64_t num_tables, int64_t first, int64_t last,
                                                   int32_t* rows, Missed missed) {
  if (first >= last) return;
  ProbeBlock blocks[2];
  int32_t positions[kProbeBlock], late[kProbeBlock];
  for (int32_t i = 0; i < kProbeBlock; ++i) positions[i] = i;
  int64_t table_cursor = table_of(in, num_tables, first);
  blocks[0].locate(map, in, first, std::min(first + kProbeBlock, last), table_cursor);
  for (int current = 0; first < last; first += kProbeBlock, current ^= 1) {
    const int64_t end = std::min(first + kProbeBlock, last);
    blocks[current ^ 1].locate(map, in, end, std::min(end + kProbeBlock, last), table_cursor);
    const ProbeBlock& block = blocks[current];
    const int num_late = block.probe(map, in.ids + first, positions, end - first, rows + first, late);
    for (int i = 0; i < num_late; ++i) {
      const int32_t at = late[i];
      missed(first + at, map.tables[block.table[at]], *block.range[at], *block.home[at]);
    }
  }
}

}  // namespace sparrow
