// The gradient of pooled rows, summed per distinct row in position order.
#pragma once

#include <cstdint>
#include <vector>

#include "core/gather_pool.h"

namespace sparrow {

// Positions grouped by the distinct row they read, in position order within each: a counting sort.
struct PositionsByRow {
  std::vector<int32_t> first;      // [U + 1]
  std::vector<int32_t> positions;  // [N]

  PositionsByRow(const int32_t* inverse, int64_t num_positions, int64_t num_unique) : first(num_unique + 1, 0), positions(num_positions) {
    for (int64_t i = 0; i < num_positions; ++i) ++first[inverse[i] + 1];
    for (int64_t row = 0; row < num_unique; ++row) first[row + 1] += first[row];
    std::vector<int32_t> next(first.begin(), first.end() - 1);
    for (int64_t i = 0; i < num_positions; ++i) positions[next[inverse[i]]++] = static_cast<int32_t>(i);
  }
};

}  // namespace sparrow
