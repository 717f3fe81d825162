// Rows of ids that a segment holds; -1 for the others. Never writes.
#pragma once

#include <cstdint>

#include "core/find_or_insert.h"

namespace sparrow {

inline void find(const Line* lines, const SegmentHeader& header, const int64_t* ids, int64_t num_ids, int32_t* rows) {
  Line* segment = const_cast<Line*>(lines) + header.first_line;
  for (int64_t i = 0; i < num_ids; ++i) {
    if (i + kPrefetchAhead < num_ids) prefetch_home(lines, header, ids[i + kPrefetchAhead]);
    const int64_t id = ids[i];
    if (id == kEmpty) {
      rows[i] = static_cast<int32_t>(header.side_row);
      continue;
    }
    const Slot slot =
        probe(segment, static_cast<uint64_t>(header.num_lines), id, mix(static_cast<uint64_t>(id), static_cast<uint64_t>(header.salt)));
    rows[i] = slot.found ? slot.line->rows[slot.index] : kNoRow;
  }
}

}  // namespace sparrow
