#include "core/unsigned_mod.h"

#include "ops/tensor_access.h"

namespace sparrow {

Tensor unsigned_mod_cpu(Tensor ids, int64_t divisor) {
  STD_TORCH_CHECK(divisor >= 1, "divisor must be at least 1, got ", divisor);
  const int64_t* id = input<int64_t>(ids, "ids");
  Tensor out = empty<int64_t>({ids.numel()}, ids);
  auto* remainder = output<int64_t>(out, "out");
  const UnsignedMod mod(static_cast<uint64_t>(divisor));
  torch::stable::parallel_for(0, ids.numel(), 16384, [=](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) remainder[i] = static_cast<int64_t>(mod(static_cast<uint64_t>(id[i])));
  });
  return out;
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("unsigned_mod", TORCH_BOX(&sparrow::unsigned_mod_cpu)); }
