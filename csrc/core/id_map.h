// The id map: 64-byte lines of 5 ids and 5 rows, probed by home line, one hashed jump, then linearly. docs/table-format.md freezes the
// bytes.
//
// Line, as 8 int64 words:   [ id0 | id1 | id2 | id3 | id4 | row0,row1 | row2,row3 | row4,filler ]   (rows int32, little endian)
// Invariants
//   1. The slots of a line fill in order 0..4, and a key once written stays until the next rehash (an erased id keeps its key,
//      with row -1). So the first empty slot on an id's probe path proves that the id is absent.
//   2. kEmpty marks an empty slot. The id that equals it lives in the side slot of the table's header: no id is special.
//   3. A table is 2^range_bits ranges, each a run of lines of its own that grows in its own step. Ranges, and home lines inside them, are
//      monotone in mix(id): a table in range and line order is in mix order but for the displaced few.
//   4. The filler of every line is negative (empty lines are kEmpty throughout): a probe may read it as the row of no slot.
#pragma once

#include <bit>
#include <cstdint>

#include "core/mix.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace sparrow {

constexpr int kIdsPerLine = 5;
constexpr int kWordsPerLine = 8;
constexpr int64_t kEmpty = INT64_MIN;
constexpr int32_t kNoRow = -1;
constexpr uint64_t kJumpLines = 8;  // an overflowing id jumps 1..8 lines: 8 lines are 512 bytes, near enough to prefetch together

struct Line {
  int64_t ids[kIdsPerLine];
  int32_t rows[kIdsPerLine + 1];  // the last is the filler
};
static_assert(sizeof(Line) == kWordsPerLine * sizeof(int64_t), "ids and rows must fit one cache line, or a probe costs two misses");

// One row of `headers`, int64[8]: what a table is to the map.
struct TableHeader {
  int64_t first_range;
  int64_t range_bits;
  int64_t salt;
  int64_t side_row;     // row of the id kEmpty, or -1
  int64_t first_slice;  // the slices of mix(id) that this map holds begin here ...
  int64_t slice_scale;  // ... and are floor(2^48 / this) many
  int64_t unused[2];
};
static_assert(sizeof(TableHeader) == 64, "a header is 8 int64");

// One row of `ranges`, int64[4].
struct Range {
  int64_t first_line;
  int64_t num_lines;
  int64_t num_keys;  // keys in lines, erased ones included; the side slot is not counted
  int64_t num_dead;  // keys whose row is -1
};
static_assert(sizeof(Range) == 32, "a range is 4 int64");

struct IdMap {
  Line* lines;
  TableHeader* tables;
  Range* ranges;
};

// Where the probe of an id starts.
struct Home {
  Range* range;
  Line* lines;    // of the range
  uint64_t line;  // within the range
  uint64_t mixed;
};

// How far through the table's slices a mixed id lies, in units of 2^-32. Masked, so that an id of another map's slices stays in bounds.
inline uint64_t fraction_of(uint64_t mixed, const TableHeader& table) {
  const uint64_t distance = (mixed >> 32) - (static_cast<uint64_t>(table.first_slice) << 16);
  return ((distance * static_cast<uint64_t>(table.slice_scale)) >> 32) & 0xffffffff;
}

inline uint64_t range_of(uint64_t fraction, uint64_t range_bits) { return fraction >> (32 - range_bits); }

inline Home home_of(const IdMap& map, const TableHeader& table, int64_t id) {
  const uint64_t mixed = mix(static_cast<uint64_t>(id), static_cast<uint64_t>(table.salt));
  const uint64_t fraction = fraction_of(mixed, table), bits = static_cast<uint64_t>(table.range_bits);
  Range* range = map.ranges + table.first_range + range_of(fraction, bits);
  const uint64_t line = (((fraction << bits) & 0xffffffff) * static_cast<uint64_t>(range->num_lines)) >> 32;
  return {range, map.lines + range->first_line, line, mixed};
}

// Bit k is set where slot k of the line holds `id`.
inline uint32_t match(const Line& line, int64_t id) {
  [[maybe_unused]] constexpr uint32_t kSlots = (1 << kIdsPerLine) - 1;
#if defined(__AVX512F__)
  return _mm512_cmpeq_epi64_mask(_mm512_loadu_si512(&line), _mm512_set1_epi64(id)) & kSlots;
#elif defined(__AVX2__)
  const __m256i equal = _mm256_cmpeq_epi64(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(line.ids)), _mm256_set1_epi64x(id));
  return static_cast<uint32_t>(_mm256_movemask_pd(_mm256_castsi256_pd(equal))) | static_cast<uint32_t>(line.ids[4] == id) << 4;
#else
  uint32_t equal = 0;
  for (int slot = 0; slot < kIdsPerLine; ++slot) equal |= static_cast<uint32_t>(line.ids[slot] == id) << slot;
  return equal & kSlots;
#endif
}

// The slot `id` is in, or kIdsPerLine, whose row is the filler.
inline int slot_in(const Line& line, int64_t id) { return std::countr_zero(match(line, id) | (uint32_t{1} << kIdsPerLine)); }

// Where a probe ended: the slot that holds the id, or the empty slot where it would go, or nowhere (every line full).
struct Slot {
  Line* line;
  int index;
  bool found;
};

// Requires id != kEmpty. Cost: one line in the common case.
inline Slot probe(const Home& home, int64_t id) {
  const auto num_lines = static_cast<uint64_t>(home.range->num_lines);
  uint64_t position = home.line, step = 1 + (home.mixed & (kJumpLines - 1));
  for (uint64_t visited = 0; visited <= num_lines; ++visited) {
    Line* line = home.lines + position;
    if (const int slot = slot_in(*line, id); slot < kIdsPerLine) return {line, slot, true};
    if (const int slot = slot_in(*line, kEmpty); slot < kIdsPerLine) return {line, slot, false};
    position = (position + step) % num_lines;
    step = 1;
  }
  return {nullptr, 0, false};
}

}  // namespace sparrow
