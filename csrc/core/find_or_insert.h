// Rows of ids, giving a fresh row to each id not seen before, in input order.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/probe_block.h"

namespace sparrow {

// Where fresh rows come from: the freed ones first, the last freed first, then rows never used, in increasing order.
struct RowCounters {
  int64_t num_rows;    // rows ever handed out
  int64_t num_failed;  // ids that found no room
  int64_t num_free;    // rows free to be handed out again
  int64_t unused;
};

// The row that the `rank`-th fresh id of a call gets.
inline int32_t fresh_row(const RowCounters& before, const int32_t* free_rows, int64_t rank) {
  return rank < before.num_free ? free_rows[before.num_free - 1 - rank] : static_cast<int32_t>(before.num_rows + rank - before.num_free);
}

// Accounts for `num_new` rows handed out by fresh_row.
inline void take_rows(RowCounters& counters, int64_t num_new) {
  const int64_t reused = std::min(num_new, counters.num_free);
  counters.num_free -= reused;
  counters.num_rows += num_new - reused;
}

// Looks `id` up and inserts it where it is not. take(row) gives the row (or what stands for it) of a new id, to be kept in `row` (null: the
// table's side slot); failed() counts one without room. Returns the row found, taken, or -1.
template <typename Take, typename Failed>
[[gnu::always_inline]] inline int32_t find_or_insert_one(const IdMap& map, TableHeader& table, Range& range, Line& home, int64_t id,
                                                         Take take, Failed failed) {
  if (id == kEmpty) {
    if (table.side_row == kNoRow) table.side_row = take(nullptr);
    return static_cast<int32_t>(table.side_row);
  }
  // Nearly always the id is, or goes, into its home line.
  Slot slot{&home, slot_in(home, id), true};
  if (slot.index == kIdsPerLine) slot = {&home, slot_in(home, kEmpty), false};
  if (slot.index == kIdsPerLine) slot = probe(home_of(map, table, id), id);
  if (slot.line == nullptr) {
    failed();
    return kNoRow;
  }
  int32_t& row = slot.line->rows[slot.index];
  if (slot.found) {
    if (row == kNoRow) {  // erased before: it comes back as a new row
      row = take(&row);
      --range.num_dead;
    }
    return row;
  }
  slot.line->ids[slot.index] = id;
  ++range.num_keys;
  return row = take(&row);
}

// Writes rows[i] for positions i of [first, last) and appends to new_positions those that were given a fresh row. An id without room gets
// row -1 and is counted. Returns how many rows are new.
inline int64_t find_or_insert(const IdMap& map, const Ids& in, int64_t num_tables, int64_t first, int64_t last, RowCounters& counters,
                              const int32_t* free_rows, int32_t* rows, int32_t* new_positions) {
  int64_t num_new = 0;
  probe_positions(map, in, num_tables, first, last, rows, [&](int64_t position, TableHeader& table, Range& range, Line& home) {
    const auto take = [&](int32_t*) {
      new_positions[num_new] = static_cast<int32_t>(position);
      return fresh_row(counters, free_rows, num_new++);
    };
    rows[position] = find_or_insert_one(map, table, range, home, in.ids[position], take, [&] { ++counters.num_failed; });
  });
  take_rows(counters, num_new);
  return num_new;
}

}  // namespace sparrow
