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

constexpr int64_t kUpdateAhead = 48;

// Asks for everything of a row that an update will write; of a long run the first lines are enough, the hardware follows it.
template <typename Rule, typename W>
SPARROW_PREFETCHES void prefetch_update(const UpdateRows<W>& in, int64_t row, int64_t dim) {
  constexpr int64_t kMostBytes = 1024;
  const auto bytes = [=](int64_t values, size_t size) { return std::min(values * static_cast<int64_t>(size), kMostBytes); };
  if (in.meta != nullptr) __builtin_prefetch(in.meta + row, 1, 2);
  if constexpr (Rule::kRowSlots > 0) __builtin_prefetch(in.row_slots.row(row), 1, 2);
  prefetch_bytes(in.weights.row(row), bytes(dim, sizeof(W)));
  if constexpr (Rule::kElementSlots > 0) prefetch_bytes(in.element_slots.row(row), bytes(Rule::kElementSlots * dim, sizeof(Compute<W>)));
}

// Scratch for one row, of a length the compiler knows where kDim is not 0.
template <int64_t kDim, typename T>
struct RowOf : std::array<T, kDim> {
  explicit RowOf(int64_t) {}
};
template <typename T>
struct RowOf<0, T> : std::vector<T> {
  using std::vector<T>::vector;
};

// One row. kDim is the width, or 0 for any: the loops of a known number have no ends to look after. `wide` is scratch of a row.
template <int64_t kDim, typename Rule, typename W>
[[gnu::always_inline]] inline void update_row(const UpdateRows<W>& in, const Rule& rule, int64_t row, const Compute<W>* grad,
                                              Compute<W>* wide) {
  using T = Compute<W>;
  const int64_t dim = kDim > 0 ? kDim : in.weights.width;
  T* slots = Rule::kElementSlots > 0 ? in.element_slots.row(row) : nullptr;
  T* row_slots = Rule::kRowSlots > 0 ? in.row_slots.row(row) : nullptr;
  W* weight = in.weights.row(row);
  if constexpr (std::is_same_v<W, T>) {
    rule.update(weight, slots, row_slots, grad, dim);
  } else {
// Written out for each column, the conversions are not vectorised.
#pragma GCC unroll 1
    for (int64_t k = 0; k < dim; ++k) wide[k] = widen(weight[k]);
    rule.update(wide, slots, row_slots, grad, dim);
#pragma GCC unroll 1
    for (int64_t k = 0; k < dim; ++k) weight[k] = narrow<W>(wide[k]);
  }
}

// Calls f with the width of a row as a constant where it is a common one, else with 0.
template <typename W, typename F>
[[gnu::always_inline]] inline void with_update_width(int64_t width, F f) {
  if constexpr (std::is_same_v<W, double>) {  // that is for tests
    f(std::integral_constant<int64_t, 0>{});
  } else {
    with_width(width, f);
  }
}

template <int64_t kDim, typename Rule, typename W>
int64_t update_rows_of(const UpdateRows<W>& in, const std::vector<Rule>& rules, int64_t first, int64_t last) {
  using T = Compute<W>;
  const int64_t dim = kDim > 0 ? kDim : in.weights.width;
  RowOf<kDim, T> wide(dim);
  int64_t stray = -1;
  for (int64_t i = first; i < last; ++i) {
    if (i + kUpdateAhead < last && in.rows[i + kUpdateAhead] >= 0) prefetch_update<Rule>(in, in.rows[i + kUpdateAhead], dim);
    const int64_t row = in.rows[i];
    if (row < 0) continue;
    RowMeta& meta = in.meta[row];
    if (static_cast<uint64_t>(meta.table) >= rules.size()) {
      stray = i;
      continue;
    }
    meta.last_changed = in.step;
    update_row<kDim>(in, rules[meta.table], row, in.grads + i * dim, wide.data());
  }
  return stray;
}

// Rows [first, last), `rules` being one rule object a table. Rows are distinct, so threads may take any part. Returns the index of a row
// whose table no rule is for, or -1.
template <typename W, typename Rule>
int64_t update_rows(const UpdateRows<W>& in, const std::vector<Rule>& rules, int64_t first, int64_t last) {
  int64_t stray = -1;
  with_update_width<W>(in.weights.width, [&](auto width) { stray = update_rows_of<width()>(in, rules, first, last); });
  return stray;
}

}  // namespace sparrow
