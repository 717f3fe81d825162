#include "core/erase.h"

#include "ops/id_map_access.h"
#include "ops/operator.h"

namespace sparrow {

Tensor erase_cpu(Tensor lines, Tensor headers, Tensor ranges, Tensor ids, Tensor table_offsets) {
  const IdMap map = id_map_of(lines, headers, ranges);
  const Ids in = ids_of(ids, table_offsets, headers);
  Tensor rows = empty<int32_t>({ids.numel()}, ids);
  erase(map, in, headers.size(0), output<int32_t>(rows, "rows"));
  return rows;
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("erase_", SPARROW_BOX(&sparrow::erase_cpu)); }
