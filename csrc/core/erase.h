// Erasing ids: the key stays, its row becomes -1, so that no probe path breaks; the next rehash drops it.
#pragma once

#include <cstdint>
#include <utility>

#include "core/probe_block.h"

namespace sparrow {

// Returns the row `id` had, or -1 where the map does not hold it.
inline int32_t erase_one(const IdMap& map, TableHeader& table, int64_t id) {
  if (id == kEmpty) return static_cast<int32_t>(std::exchange(table.side_row, int64_t{kNoRow}));
  const Home home = home_of(map, table, id);
  const Slot slot = probe(home, id);
  if (!slot.found) return kNoRow;
  const int32_t row = std::exchange(slot.line->rows[slot.index], kNoRow);
  home.range->num_dead += row != kNoRow;
  return row;
}

// Writes to rows the row that each id had, -1 for the absent.
inline void erase(const IdMap& map, const Ids& in, int64_t num_tables, int32_t* rows) {
  constexpr int64_t kAhead = 32;
  for (int64_t table = 0; table < num_tables; ++table) {
    const int64_t end = in.table_offsets[table + 1];
    for (int64_t i = in.table_offsets[table]; i < end; ++i) {
      if (i + kAhead < end) {
        const Home ahead = home_of(map, map.tables[table], in.ids[i + kAhead]);
        __builtin_prefetch(ahead.lines + ahead.line, 1, 2);
      }
      rows[i] = erase_one(map, map.tables[table], in.ids[i]);
    }
  }
}

}  // namespace sparrow
