#include <algorithm>
#include <cstdint>

#include "ops/block_access.h"

namespace sparrow {

void touch_rows_cpu(Tensor meta, Tensor rows, Tensor counts, Tensor num_rows, int64_t step) {
  STD_TORCH_CHECK(meta.dim() == 2 && meta.size(1) == 4, "meta must be int32 [rows, 4]");
  check_step(step);
  const int64_t count = scalar(num_rows, "num_rows");
  STD_TORCH_CHECK(count >= 0 && count <= rows.numel() && count <= counts.numel(), "num_rows must not exceed the number of rows and counts");
  int32_t* stamp = output<int32_t>(meta, "meta");
  const int32_t* row = rows_of(rows, meta.size(0), "rows", count);
  const int32_t* occurrences = input<int32_t>(counts, "counts");
  constexpr int64_t kAhead = 32;
  for (int64_t i = 0; i < count; ++i) {
    if (i + kAhead < count && row[i + kAhead] >= 0) __builtin_prefetch(stamp + 4 * int64_t{row[i + kAhead]}, 1, 2);
    if (row[i] < 0) continue;
    int32_t* of_row = stamp + 4 * int64_t{row[i]};
    of_row[0] = static_cast<int32_t>(step);
    of_row[2] = static_cast<int32_t>(std::min<int64_t>(int64_t{of_row[2]} + occurrences[i], INT32_MAX));
  }
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("touch_rows_", TORCH_BOX(&sparrow::touch_rows_cpu)); }
