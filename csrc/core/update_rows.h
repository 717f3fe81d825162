// One update of the rows that received a gradient, by any rule.
#pragma once

#include <cstdint>
#include <type_traits>
#include <vector>

#include "core/blocks.h"
#include "core/half.h"
#include "core/rules/hyper.h"
#include "core/touch_rows.h"

namespace sparrow {

// What an update reads and writes; W is the type that weights are stored in.
template <typename W>
struct UpdateRows {
  Blocks<W> weights;
  Blocks<Compute<W>> element_slots, row_slots;
  RowMeta* meta;
  const int32_t* rows;      // [U], distinct; -1 is skipped
  const Compute<W>* grads;  // [U, dim]
  int32_t step;
};

// Rows [first, last), `rules` being one rule object a table. Rows are distinct, so threads may take any part. Returns the index of a row
// whose table no rule is for, or -1.
// kDim is the width of a row, or 0 for any: with loops of known length a row costs a fifth to a quarter less.
template <int64_t kDim, typename W, typename Rule>
int64_t update_rows_of(const UpdateRows<W>& in, const std::vector<Rule>& rules, int64_t first, int64_t last) {
  using T = Compute<W>;
  constexpr int64_t kAhead = 32;
  const int64_t dim = kDim == 0 ? in.weights.width : kDim;
  std::vector<T> wide(std::is_same_v<W, T> ? 0 : dim);
  int64_t stray = -1;
  for (int64_t i = first; i < last; ++i) {
    if (i + kAhead < last && in.rows[i + kAhead] >= 0) {
      const int64_t ahead = in.rows[i + kAhead];
      in.weights.prefetch(ahead);
      if constexpr (Rule::kElementSlots > 0) in.element_slots.prefetch(ahead);
      if constexpr (Rule::kRowSlots > 0) __builtin_prefetch(in.row_slots.row(ahead), 1, 2);
      __builtin_prefetch(in.meta + ahead, 1, 2);
    }
    const int64_t row = in.rows[i];
    if (row < 0) continue;
    RowMeta& meta = in.meta[row];
    if (static_cast<uint64_t>(meta.table) >= rules.size()) {
      stray = i;
      continue;
    }
    meta.last_changed = in.step;
    T* slots = Rule::kElementSlots > 0 ? in.element_slots.row(row) : nullptr;
    T* row_slots = Rule::kRowSlots > 0 ? in.row_slots.row(row) : nullptr;
    W* weight = in.weights.row(row);
    if constexpr (std::is_same_v<W, T>) {
      rules[meta.table].update(weight, slots, row_slots, in.grads + i * dim, dim);
    } else {
      for (int64_t k = 0; k < dim; ++k) wide[k] = widen(weight[k]);
      rules[meta.table].update(wide.data(), slots, row_slots, in.grads + i * dim, dim);
      for (int64_t k = 0; k < dim; ++k) weight[k] = narrow<W>(wide[k]);
    }
  }
  return stray;
}

template <typename W, typename Rule>
int64_t update_rows(const UpdateRows<W>& in, const std::vector<Rule>& rules, int64_t first, int64_t last) {
  if constexpr (std::is_same_v<W, float>) {
    switch (in.weights.width) {
      case 8: return update_rows_of<8>(in, rules, first, last);
      case 16: return update_rows_of<16>(in, rules, first, last);
      case 32: return update_rows_of<32>(in, rules, first, last);
      case 64: return update_rows_of<64>(in, rules, first, last);
      default: break;
    }
  }
  return update_rows_of<0>(in, rules, first, last);
}

}  // namespace sparrow
