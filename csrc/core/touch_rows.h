// Stamps of a lookup: when a row was last used, and how often.
#pragma once

#include <algorithm>
#include <cstdint>

namespace sparrow {

// What `meta` holds of a row, int32[4].
struct RowMeta {
  int32_t last_used, last_changed, count, table;
};
static_assert(sizeof(RowMeta) == 16, "meta is int32 [rows, 4]");

// Rows [first, last) of `rows`, distinct; -1 is skipped. Counts saturate. changed: whether they are about to be updated, in this step.
inline void touch_rows(RowMeta* meta, const int32_t* rows, const int32_t* counts, int32_t step, bool changed, int64_t first, int64_t last) {
  constexpr int64_t kAhead = 48;
  for (int64_t i = first; i < last; ++i) {
    if (i + kAhead < last) __builtin_prefetch(meta + std::max(rows[i + kAhead], 0), 1, 2);
    if (rows[i] < 0) continue;
    RowMeta& of_row = meta[rows[i]];
    of_row.last_used = step;
    if (changed) of_row.last_changed = step;
    of_row.count = static_cast<int32_t>(std::min<int64_t>(int64_t{of_row.count} + counts[i], INT32_MAX));
  }
}

}  // namespace sparrow
