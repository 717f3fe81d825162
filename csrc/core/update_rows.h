// One update of the rows that received a gradient, by any rule.
#pragma once

#include <cstdint>
#include <vector>

#include "core/blocks.h"

namespace sparrow {

constexpr int kHyperWords = 8;
constexpr int64_t kUpdatePrefetchAhead = 16;

// Rows [first, last) of `rows`, one rule object a table. Rows are distinct, so threads may take any ranges. -1 is skipped.
template <typename T, template <typename> class Rule>
void update_rows(const Blocks<T>& weights, const Blocks<T>& element_slots, const Blocks<T>& row_slots, int32_t* meta, const int32_t* rows,
                 const T* grads, const std::vector<Rule<T>>& rules, int32_t step, int64_t first, int64_t last) {
  const int64_t dim = weights.width;
  for (int64_t i = first; i < last; ++i) {
    if (i + kUpdatePrefetchAhead < last && rows[i + kUpdatePrefetchAhead] >= 0) {
      const int64_t ahead = rows[i + kUpdatePrefetchAhead];
      weights.prefetch(ahead);
      if (Rule<T>::kElementSlots) element_slots.prefetch(ahead);
      __builtin_prefetch(meta + 4 * ahead, 1, 2);
    }
    const int64_t row = rows[i];
    if (row < 0) continue;
    const Rule<T>& rule = rules[meta[4 * row + 3]];
    rule.update(weights.row(row), Rule<T>::kElementSlots ? element_slots.row(row) : nullptr,
                Rule<T>::kRowSlots ? row_slots.row(row) : nullptr, grads + i * dim, dim);
    meta[4 * row + 1] = step;
  }
}

}  // namespace sparrow
