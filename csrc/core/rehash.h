// Copies the living ids of a segment into a larger (or merely cleaner) one, in line order; rows keep their numbers.
#pragma once

#include <cstdint>

#include "core/id_map.h"

namespace sparrow {

// `to` must be empty and have room for the living ids of `from`. Line order is mix order but for the displaced few, so both
// sides are walked nearly sequentially.
inline void rehash(const Line* from_lines, const SegmentHeader& from, Line* to_lines, SegmentHeader& to) {
  Line* segment = to_lines + to.first_line;
  for (int64_t position = 0; position < from.num_lines; ++position) {
    const Line& line = from_lines[from.first_line + position];
    for (int index = 0; index < kIdsPerLine && line.ids[index] != kEmpty; ++index) {
      if (line.rows[index] == kNoRow) continue;
      const uint64_t mixed = mix(static_cast<uint64_t>(line.ids[index]), static_cast<uint64_t>(to.salt));
      const Slot slot = probe(segment, static_cast<uint64_t>(to.num_lines), line.ids[index], mixed);
      slot.line->ids[slot.index] = line.ids[index];
      slot.line->rows[slot.index] = line.rows[index];
      ++to.num_keys;
    }
  }
  to.side_row = from.side_row;
}

}  // namespace sparrow
