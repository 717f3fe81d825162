#include "core/find.h"

#include <atomic>
#include <tuple>

#include "ops/id_map_access.h"
#include "ops/kept_output.h"
#include "ops/operator.h"

namespace sparrow {

std::tuple<Tensor, Tensor> find_cpu(Tensor lines, Tensor headers, Tensor ranges, Tensor ids, Tensor table_offsets) {
  const IdMap map = id_map_of(lines, headers, ranges);
  const Ids in = ids_of(ids, table_offsets, headers);
  Tensor rows = empty_kept<int32_t>({ids.numel()}, ids);
  Tensor num_missing = empty<int64_t>({1}, ids);
  auto* row = output<int32_t>(rows, "rows");
  std::atomic<int64_t> missing = 0;
  parallel_for(0, ids.numel(), 8192, [&](int64_t first, int64_t last) { missing += find(map, in, headers.size(0), first, last, row); });
  *output<int64_t>(num_missing, "num_missing") = missing;
  return {rows, num_missing};
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("find", SPARROW_BOX(&sparrow::find_cpu)); }
