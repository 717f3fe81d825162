// Everything about a row that is new: weights drawn, slots at their first values, id and stamps.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/blocks.h"
#include "core/half.h"
#include "core/initializer.h"
#include "core/touch_rows.h"

namespace sparrow {

template <typename W>
struct NewRows {
  Blocks<W> weights;
  Blocks<Compute<W>> element_slots, row_slots;
  int64_t* row_ids;
  RowMeta* meta;
  const int32_t* rows;           // [N]
  const int64_t* ids;            // [N]
  const int64_t* table_offsets;  // [T + 1]
  int64_t num_tables;
  const int32_t* positions;  // increasing: which of the N are new
  const int64_t* seeds;      // [T]
  int64_t initializer;
  const double* parameters;   // [T, 2]
  const double* slot_values;  // [T, slots]: element-wise slots, then row-wise ones
};

// `values` gives the slots of a row in order, each `width / num_slots` values wide.
template <typename T>
inline void fill_slots(const Blocks<T>& blocks, int64_t row, const double* values, int64_t num_slots) {
  if (num_slots == 0) return;
  const int64_t slot_width = blocks.width / num_slots;
  for (int64_t slot = 0; slot < num_slots; ++slot)
    std::fill_n(blocks.row(row) + slot * slot_width, slot_width, static_cast<T>(values[slot]));
}

// Initialises the rows of positions[first, last).
template <typename W>
inline void init_rows(const NewRows<W>& in, int64_t first, int64_t last) {
  constexpr int64_t kAhead = 8;
  const int64_t num_row_slots = in.row_slots.width,
                num_element_slots = in.weights.width == 0 ? 0 : in.element_slots.width / in.weights.width;
  int64_t table = 0;
  for (int64_t i = first; i < last; ++i) {
    if (i + kAhead < last && in.rows[in.positions[i + kAhead]] >= 0) {
      const int64_t ahead = in.rows[in.positions[i + kAhead]];
      in.weights.prefetch(ahead);
      if (num_element_slots != 0) in.element_slots.prefetch(ahead);
      __builtin_prefetch(in.meta + ahead, 1, 2);
      __builtin_prefetch(in.row_ids + ahead, 1, 2);
    }
    const int32_t position = in.positions[i], row = in.rows[position];
    while (in.table_offsets[table + 1] <= position) ++table;
    if (row < 0) continue;
    const double *a = in.parameters + 2 * table, *b = a + 1;
    init_row<W>(in.weights.row(row), in.weights.width, in.ids[position], in.seeds[table], in.initializer, *a, *b);
    const double* slots = in.slot_values + table * (num_element_slots + num_row_slots);
    fill_slots(in.element_slots, row, slots, num_element_slots);
    fill_slots(in.row_slots, row, slots + num_element_slots, num_row_slots);
    in.row_ids[row] = in.ids[position];
    in.meta[row] = {0, 0, 0, static_cast<int32_t>(table)};
  }
}

}  // namespace sparrow
