// One update of the rows that received a gradient, by any rule.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "core/blocks.h"
#include "core/half.h"
#include "core/rules/hyper.h"
#include "core/segment_sum.h"
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

// Asks for everything of a row that an update will write; of a long run the first lines are enough, the hardware follows it.
template <typename Rule, typename W>
SPARROW_PREFETCHES void prefetch_update(const UpdateRows<W>& in, int64_t row, int64_t dim) {
  constexpr int64_t kMostBytes = 1024;
  const auto bytes = [=](int64_t values, size_t size) { return std::min(values * static_cast<int64_t>(size), kMostBytes); };
  __builtin_prefetch(in.meta + row, 1, 2);
  if constexpr (Rule::kRowSlots > 0) __builtin_prefetch(in.row_slots.row(row), 1, 2);
  prefetch_bytes(in.weights.row(row), bytes(dim, sizeof(W)));
  if constexpr (Rule::kElementSlots > 0) prefetch_bytes(in.element_slots.row(row), bytes(Rule::kElementSlots * dim, sizeof(Compute<W>)));
}

// update_rows for rows of kDim values, or of any number where 0: the loops of a known number have no ends to look after.
template <int64_t kDim, typename Rule, typename W>
int64_t update_rows_of(const UpdateRows<W>& in, const std::vector<Rule>& rules, int64_t first, int64_t last) {
  using T = Compute<W>;
  constexpr int64_t kAhead = 48;
  const int64_t dim = kDim > 0 ? kDim : in.weights.width;
  std::conditional_t<(kDim > 0), std::array<T, kDim>, std::vector<T>> wide;
  if constexpr (kDim == 0) wide.resize(dim);
  int64_t stray = -1;
  for (int64_t i = first; i < last; ++i) {
    if (i + kAhead < last && in.rows[i + kAhead] >= 0) prefetch_update<Rule>(in, in.rows[i + kAhead], dim);
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
// Written out for each column, the conversions are not vectorised.
#pragma GCC unroll 1
      for (int64_t k = 0; k < dim; ++k) wide[k] = widen(weight[k]);
      rules[meta.table].update(wide.data(), slots, row_slots, in.grads + i * dim, dim);
#pragma GCC unroll 1
      for (int64_t k = 0; k < dim; ++k) weight[k] = narrow<W>(wide[k]);
    }
  }
  return stray;
}

// Rows [first, last), `rules` being one rule object a table. Rows are distinct, so threads may take any part. Returns the index of a row
// whose table no rule is for, or -1.
template <typename W, typename Rule>
int64_t update_rows(const UpdateRows<W>& in, const std::vector<Rule>& rules, int64_t first, int64_t last) {
  if constexpr (!std::is_same_v<W, double>) {  // that is for tests
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
