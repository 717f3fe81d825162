// The id map: 64-byte lines of 5 ids and 5 rows, probed by home line, one hashed jump, then linearly.
//
// Line, as 8 int64 words:   [ id0 | id1 | id2 | id3 | id4 | row0,row1 | row2,row3 | row4,unused ]   (rows int32, little endian)
// Invariants
//   1. The slots of a line fill in order 0..4, and a key once written stays until the next rehash (an erased id keeps its key,
//      with row -1). So the first empty slot on an id's probe path proves that the id is absent.
//   2. kEmpty marks an empty slot. The id that equals it lives in the side slot of the segment's header: no id is special.
//   3. Home lines are monotone in mix(id): a segment in line order is in mix order but for the displaced few.
#pragma once

#include <cstdint>

#include "core/mix.h"

namespace sparrow {

constexpr int kIdsPerLine = 5;
constexpr int kWordsPerLine = 8;
constexpr int64_t kEmpty = INT64_MIN;
constexpr int32_t kNoRow = -1;
constexpr uint64_t kJumpLines = 8;  // an overflowing id jumps 1..8 lines: 8 lines are 512 bytes, near enough to prefetch together

static_assert(kIdsPerLine * (sizeof(int64_t) + sizeof(int32_t)) <= kWordsPerLine * sizeof(int64_t),
              "ids and rows must fit one cache line, or a probe costs two misses");

struct Line {
  int64_t ids[kIdsPerLine];
  int32_t rows[kIdsPerLine];
  int32_t unused;
};
static_assert(sizeof(Line) == 64, "a line is one cache line");

// One row of `headers`, int64[8]: everything about a segment that is not in its lines.
struct SegmentHeader {
  int64_t first_line;
  int64_t num_lines;
  int64_t num_keys;  // keys in lines, erased ones included; the side slot is not counted
  int64_t num_dead;  // keys whose row is -1
  int64_t salt;
  int64_t side_row;  // row of the id kEmpty, or -1
  int64_t max_keys;  // the host makes room before num_keys can pass this; kernels never read it
  int64_t unused;
};
static_assert(sizeof(SegmentHeader) == 64, "a header is 8 int64");

// Where a probe ended: the slot that holds the id, or the empty slot where it would go, or nowhere (every line full).
struct Slot {
  Line* line;
  int index;
  bool found;
};

inline uint64_t home_line(uint64_t mixed, uint64_t num_lines) { return ((mixed >> 32) * num_lines) >> 32; }

// Requires id != kEmpty. Cost: one line in the common case.
inline Slot probe(Line* lines, uint64_t num_lines, int64_t id, uint64_t mixed) {
  uint64_t position = home_line(mixed, num_lines);
  uint64_t step = 1 + (mixed & (kJumpLines - 1));
  for (uint64_t visited = 0; visited <= num_lines; ++visited) {
    Line* line = lines + position;
    for (int index = 0; index < kIdsPerLine; ++index) {
      if (line->ids[index] == id) return {line, index, true};
      if (line->ids[index] == kEmpty) return {line, index, false};
    }
    position = (position + step) % num_lines;
    step = 1;
  }
  return {nullptr, 0, false};
}

inline void prefetch_home(const Line* lines, const SegmentHeader& header, int64_t id) {
  const uint64_t mixed = mix(static_cast<uint64_t>(id), static_cast<uint64_t>(header.salt));
  // Into L2 (locality 2): 48-64 lines in flight would evict each other from L1.
  __builtin_prefetch(lines + header.first_line + home_line(mixed, static_cast<uint64_t>(header.num_lines)), 0, 2);
}

}  // namespace sparrow
