// Rows of ids that a map holds; -1 for the others. Never writes.
#pragma once

#include <cstdint>

#include "core/probe_block.h"

namespace sparrow {

inline int32_t find_one(const IdMap& map, const TableHeader& table, int64_t id) {
  if (id == kEmpty) return static_cast<int32_t>(table.side_row);
  const Slot slot = probe(home_of(map, table, id), id);
  return slot.found ? slot.line->rows[slot.index] : kNoRow;
}

// Writes rows[i] for positions i of [first, last); returns how many have none.
inline int64_t find(const IdMap& map, const Ids& in, int64_t num_tables, int64_t first, int64_t last, int32_t* rows) {
  int64_t num_missing = 0;
  probe_positions(map, in, num_tables, first, last, rows, [&](int64_t position, const TableHeader& table, const Range&, const Line&) {
    rows[position] = find_one(map, table, in.ids[position]);
    num_missing += rows[position] < 0;
  });
  return num_missing;
}

}  // namespace sparrow
