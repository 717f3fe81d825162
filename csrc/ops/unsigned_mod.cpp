#include "ops/tensor_access.h"

namespace sparrow {

Tensor unsigned_mod_cpu(Tensor ids, int64_t divisor) {
  STD_TORCH_CHECK(divisor >= 1, "divisor must be at least 1, got ", divisor);
  const int64_t* id = input<int64_t>(ids, "ids");
  Tensor out = empty<int64_t>({ids.numel()}, ids);
  auto* remainder = output<int64_t>(out, "out");
  const auto by = static_cast<uint64_t>(divisor);
  // Multiplying by a rounded-up reciprocal of 128 bits gives the exact remainder of any 64-bit id (Lemire, Kaser, Kurz, "Faster remainder
  // by direct computation", 2019): 2 to 3 times the rate of the division instruction.
  const auto reciprocal = ~static_cast<unsigned __int128>(0) / by + 1;
  torch::stable::parallel_for(0, ids.numel(), 16384, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const unsigned __int128 fraction = reciprocal * static_cast<uint64_t>(id[i]);
      const auto low = static_cast<unsigned __int128>(static_cast<uint64_t>(fraction)) * by;
      const auto high = static_cast<unsigned __int128>(static_cast<uint64_t>(fraction >> 64)) * by;
      remainder[i] = by == 1 ? 0 : static_cast<int64_t>((high + (low >> 64)) >> 64);
    }
  });
  return out;
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("unsigned_mod", TORCH_BOX(&sparrow::unsigned_mod_cpu)); }
