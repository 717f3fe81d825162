// The gradient of pooled rows summed per distinct row, each sum used for the row's update while it is in registers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/pool_backward.h"
#include "core/update_rows.h"

namespace sparrow {

// The rows of a lookup, which come table by table.
template <typename W>
struct PoolUpdate {
  UpdateRows<W> update;          // `grads` is not read; `meta` may be null: rows are not stamped then
  const int64_t* table_offsets;  // [T + 1]: table t has distinct rows [table_offsets[t], table_offsets[t + 1])
  const Compute<W>* grad;        // of the pooled output
};

// The sum of the occurrences of distinct row `unique`; `total` and `chunk` are of dim values. Not inlined: it is the same for every rule.
template <int64_t kDim, typename T>
[[gnu::noinline]] void sum_row(const Occurrences<T>& occurrences, const T* grad, int64_t dim, int64_t unique, int64_t& next, T* total,
                               T* chunk) {
  const int64_t first = occurrences.first[unique], count = occurrences.first[unique + 1] - first;
  if (occurrences.factor) {
    sum_segment<kDim>(OccurrenceRows<T, true>{occurrences, grad, dim, first, next}, count, dim, total, chunk);
  } else {
    sum_segment<kDim>(OccurrenceRows<T, false>{occurrences, grad, dim, first, next}, count, dim, total, chunk);
  }
}

// Distinct rows [begin, end), all of one table.
template <int64_t kDim, typename Rule, typename W>
void pool_update_table(const PoolUpdate<W>& in, const Occurrences<Compute<W>>& occurrences, const Rule rule, int64_t begin, int64_t end,
                       int64_t& next) {
  using T = Compute<W>;
  const UpdateRows<W>& update = in.update;
  const int64_t dim = kDim > 0 ? kDim : update.weights.width;
  RowOf<kDim, T> sum(dim), chunk(dim), wide(dim);
  for (int64_t unique = begin; unique < end; ++unique) {
    if (unique + kUpdateAhead < end && update.rows[unique + kUpdateAhead] >= 0)
      prefetch_update<Rule>(update, update.rows[unique + kUpdateAhead], dim);
    const int64_t row = update.rows[unique];
    if (row < 0) continue;
    const int64_t first = occurrences.first[unique];
    if (!occurrences.factor && occurrences.first[unique + 1] - first == 1) {
      const OccurrenceRows<T, false> own{occurrences, in.grad, dim, first, next};
      own.will_read(1);
      sum_one(own.row(0), dim, sum.data());
    } else {
      sum_row<kDim>(occurrences, in.grad, dim, unique, next, sum.data(), chunk.data());
    }
    if (update.meta != nullptr) update.meta[row].last_changed = update.step;
    update_row<kDim>(update, rule, row, sum.data(), wide.data());
  }
}

// Distinct rows [begin, end); `rules` has one rule object a table.
template <typename Rule, typename W>
void pool_update_rows(const PoolUpdate<W>& in, const Occurrences<Compute<W>>& occurrences, const std::vector<Rule>& rules, int64_t begin,
                      int64_t end) {
  int64_t next = begin < end ? occurrences.first[begin] : 0;
  with_update_width<W>(in.update.weights.width, [&](auto width) {
    for (size_t table = 0; table < rules.size(); ++table) {
      const int64_t first = std::max(begin, in.table_offsets[table]), last = std::min(end, in.table_offsets[table + 1]);
      if (first < last) pool_update_table<width()>(in, occurrences, rules[table], first, last, next);
    }
  });
}

}  // namespace sparrow
