#include "core/farm_hash.h"

#include "ops/tensor_access.h"

namespace sparrow {

Tensor farm_hash_cpu(Tensor values, Tensor offsets) {
  const auto* bytes = input<uint8_t>(values, "values");
  const int64_t* offset = offsets_of(offsets, values.numel(), "offsets");
  const int64_t num_strings = offsets.numel() - 1;
  Tensor out = empty<int64_t>({num_strings}, offsets);
  auto* hash = output<int64_t>(out, "out");
  torch::stable::parallel_for(0, num_strings, 4096, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i)
      hash[i] = static_cast<int64_t>(farm::fingerprint(bytes + offset[i], static_cast<uint64_t>(offset[i + 1] - offset[i])));
  });
  return out;
}

Tensor farm_hash_ints_cpu(Tensor ids) {
  const int64_t* id = input<int64_t>(ids, "ids");
  Tensor out = empty<int64_t>({ids.numel()}, ids);
  auto* hash = output<int64_t>(out, "out");
  torch::stable::parallel_for(0, ids.numel(), 8192, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) hash[i] = static_cast<int64_t>(farm::hash_up_to_16(reinterpret_cast<const uint8_t*>(id + i), 8));
  });
  return out;
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) {
  m.impl("farm_hash", TORCH_BOX(&sparrow::farm_hash_cpu));
  m.impl("farm_hash_ints", TORCH_BOX(&sparrow::farm_hash_ints_cpu));
}
