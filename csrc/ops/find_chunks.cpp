#include "core/find_chunks.h"

#include <cstring>
#include <vector>

#include "ops/operator.h"
#include "ops/tensor_access.h"

namespace sparrow {

Tensor find_chunks_cpu(Tensor footer, int64_t num_leaves) {
  STD_TORCH_CHECK(num_leaves > 0, "num_leaves is ", num_leaves);
  const auto* begin = input<uint8_t>(footer, "footer");
  std::vector<FoundChunk> found;
  if (!find_chunks({begin, begin + footer.numel()}, num_leaves, &found)) found.clear();
  Tensor out = empty<int64_t>({static_cast<int64_t>(found.size()) / num_leaves, num_leaves, 4}, footer);
  if (!found.empty()) std::memcpy(output<int64_t>(out, "out"), found.data(), found.size() * sizeof(FoundChunk));
  return out;
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("find_chunks", SPARROW_BOX(&sparrow::find_chunks_cpu)); }
