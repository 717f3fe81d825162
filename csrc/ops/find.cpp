#include "core/find.h"

#include "ops/id_map_access.h"

namespace sparrow {

Tensor find_cpu(Tensor lines, Tensor headers, Tensor ids, Tensor table_offsets) {
  check_id_map(lines, headers);
  const int64_t* offsets = table_offsets_of(table_offsets, headers, ids.numel());
  const auto* line = reinterpret_cast<const Line*>(input<int64_t>(lines, "lines"));
  const auto* header = reinterpret_cast<const SegmentHeader*>(input<int64_t>(headers, "headers"));
  const int64_t* id = input<int64_t>(ids, "ids");
  Tensor rows = empty<int32_t>({ids.numel()}, ids);
  auto* row = output<int32_t>(rows, "rows");
  for (int64_t table = 0; table < headers.size(0); ++table) {
    const int64_t begin = offsets[table];
    find(line, header[table], id + begin, offsets[table + 1] - begin, row + begin);
  }
  return rows;
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("find", TORCH_BOX(&sparrow::find_cpu)); }
