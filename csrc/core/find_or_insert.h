// Rows of ids, giving a fresh row to each id not seen before, in input order.
#pragma once

#include <cstdint>

#include "core/id_map.h"

namespace sparrow {

constexpr int64_t kPrefetchAhead = 48;

// Where fresh rows come from: rows are handed out in increasing order.
struct RowCounters {
  int64_t num_rows;    // rows handed out so far
  int64_t num_failed;  // ids that found no room
};

// Writes rows[i] for ids[0, num_ids) of one segment and appends to new_positions the positions (offset by first_position) that
// were given a fresh row. An id without room gets row -1 and is counted. Returns how many rows are new.
inline int64_t find_or_insert(Line* lines, SegmentHeader& header, RowCounters& counters, const int64_t* ids, int64_t num_ids,
                              int64_t first_position, int32_t* rows, int32_t* new_positions) {
  Line* segment = lines + header.first_line;
  int64_t num_new = 0;
  auto take_row = [&](int64_t position) {
    new_positions[num_new++] = static_cast<int32_t>(first_position + position);
    return static_cast<int32_t>(counters.num_rows++);
  };
  for (int64_t i = 0; i < num_ids; ++i) {
    if (i + kPrefetchAhead < num_ids) prefetch_home(lines, header, ids[i + kPrefetchAhead]);
    const int64_t id = ids[i];
    if (id == kEmpty) {
      if (header.side_row == kNoRow) header.side_row = take_row(i);
      rows[i] = static_cast<int32_t>(header.side_row);
      continue;
    }
    const Slot slot =
        probe(segment, static_cast<uint64_t>(header.num_lines), id, mix(static_cast<uint64_t>(id), static_cast<uint64_t>(header.salt)));
    if (slot.found) {
      if (slot.line->rows[slot.index] == kNoRow) {  // erased before: it comes back as a new row
        slot.line->rows[slot.index] = take_row(i);
        --header.num_dead;
      }
      rows[i] = slot.line->rows[slot.index];
    } else if (slot.line == nullptr) {
      rows[i] = kNoRow;
      ++counters.num_failed;
    } else {
      slot.line->ids[slot.index] = id;
      rows[i] = slot.line->rows[slot.index] = take_row(i);
      ++header.num_keys;
    }
  }
  return num_new;
}

}  // namespace sparrow
