#include "core/find_or_insert.h"

#include <algorithm>
#include <tuple>

#include "ops/id_map_access.h"

namespace sparrow {

std::tuple<Tensor, Tensor, Tensor> find_or_insert_cpu(Tensor lines, Tensor headers, Tensor counters, Tensor ids, Tensor table_offsets) {
  check_id_map(lines, headers);
  STD_TORCH_CHECK(counters.numel() == 2, "counters must be int64 [2]: rows handed out, ids that failed");
  const int64_t num_ids = ids.numel();
  const int64_t* offsets = table_offsets_of(table_offsets, headers, num_ids);
  auto* line = reinterpret_cast<Line*>(output<int64_t>(lines, "lines"));
  auto* header = reinterpret_cast<SegmentHeader*>(output<int64_t>(headers, "headers"));
  auto* counter = reinterpret_cast<RowCounters*>(output<int64_t>(counters, "counters"));
  const int64_t* id = input<int64_t>(ids, "ids");

  Tensor rows = empty<int32_t>({num_ids}, ids);
  Tensor new_positions = empty<int32_t>({num_ids}, ids);
  Tensor num_new = empty<int64_t>({1}, ids);
  auto* row = output<int32_t>(rows, "rows");
  auto* new_position = output<int32_t>(new_positions, "new_positions");
  int64_t count = 0;
  for (int64_t table = 0; table < headers.size(0); ++table) {
    const int64_t begin = offsets[table];
    count +=
        find_or_insert(line, header[table], *counter, id + begin, offsets[table + 1] - begin, begin, row + begin, new_position + count);
  }
  std::fill(new_position + count, new_position + num_ids, -1);
  *output<int64_t>(num_new, "num_new") = count;
  return {rows, new_positions, num_new};
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("find_or_insert_", TORCH_BOX(&sparrow::find_or_insert_cpu)); }
