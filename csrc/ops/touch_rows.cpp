#include "core/touch_rows.h"

#include <optional>

#include "ops/block_access.h"
#include "ops/operator.h"

namespace sparrow {

void touch_rows_cpu(Tensor meta, Tensor rows, Tensor counts, Tensor num_rows, int64_t step, bool changed, std::optional<Tensor> clock) {
  STD_TORCH_CHECK(meta.dim() == 2 && meta.size(1) == 4, "meta must be int32 [rows, 4]");
  step = step_of(step, clock);
  const int64_t count = scalar(num_rows, "num_rows");
  STD_TORCH_CHECK(count >= 0 && count <= rows.numel() && count <= counts.numel(), "num_rows must not exceed the number of rows and counts");
  auto* stamps = reinterpret_cast<RowMeta*>(output<int32_t>(meta, "meta"));
  const int32_t* row = rows_of(rows, meta.size(0), "rows", count);
  const int32_t* occurrences = input<int32_t>(counts, "counts");
  parallel_for(0, count, 4096, [&](int64_t first, int64_t last) {
    touch_rows(stamps, row, occurrences, static_cast<int32_t>(step), changed, first, last);
  });
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("touch_rows_", SPARROW_BOX(&sparrow::touch_rows_cpu)); }
