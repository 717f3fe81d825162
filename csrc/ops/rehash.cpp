#include "core/rehash.h"

#include "ops/id_map_access.h"

namespace sparrow {

void rehash_cpu(Tensor new_lines, Tensor new_headers, Tensor lines, Tensor headers) {
  check_id_map(lines, headers);
  check_id_map(new_lines, new_headers);
  STD_TORCH_CHECK(headers.size(0) == new_headers.size(0), "headers and new_headers must describe the same tables");
  const auto* from = reinterpret_cast<const Line*>(input<int64_t>(lines, "lines"));
  const auto* from_header = reinterpret_cast<const SegmentHeader*>(input<int64_t>(headers, "headers"));
  auto* to = reinterpret_cast<Line*>(output<int64_t>(new_lines, "new_lines"));
  auto* to_header = reinterpret_cast<SegmentHeader*>(output<int64_t>(new_headers, "new_headers"));
  for (int64_t table = 0; table < headers.size(0); ++table) {
    const int64_t living = from_header[table].num_keys - from_header[table].num_dead;
    STD_TORCH_CHECK(living <= to_header[table].num_lines * kIdsPerLine, "the new segment of table ", table, " holds ",
                    to_header[table].num_lines * kIdsPerLine, " ids, needs ", living);
    rehash(from, from_header[table], to, to_header[table]);
  }
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("rehash_", TORCH_BOX(&sparrow::rehash_cpu)); }
