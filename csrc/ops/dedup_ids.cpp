#include "core/dedup_ids.h"

#include <algorithm>
#include <tuple>

#include "ops/tensor_access.h"

namespace sparrow {

std::tuple<Tensor, Tensor, Tensor, Tensor> dedup_ids_cpu(Tensor ids, Tensor table_offsets) {
  const int64_t num_ids = ids.numel();
  const int64_t num_tables = table_offsets.numel() - 1;
  STD_TORCH_CHECK(num_ids < INT32_MAX, "ids: one call takes fewer than 2^31, got ", num_ids);
  const int64_t* id = input<int64_t>(ids, "ids");
  const int64_t* offsets = offsets_of(table_offsets, num_ids, "table_offsets");
  Tensor unique_ids = empty<int64_t>({num_ids}, ids);
  Tensor unique_offsets = empty<int64_t>({num_tables + 1}, ids);
  Tensor inverse = empty<int32_t>({num_ids}, ids);
  Tensor counts = empty<int32_t>({num_ids}, ids);
  auto* unique = output<int64_t>(unique_ids, "unique_ids");
  auto* unique_offset = output<int64_t>(unique_offsets, "unique_offsets");
  auto* index = output<int32_t>(inverse, "inverse");
  auto* count = output<int32_t>(counts, "counts");
  // Each table into its own part of the outputs; then the parts move together.
  const int64_t grain = std::max<int64_t>(1, num_tables * 2048 / std::max<int64_t>(1, num_ids));
  const int64_t num_parts = num_ids < 4096 ? 1 : std::min<int64_t>(num_tables, torch::stable::get_num_threads());
  const auto parts = balanced_parts(offsets, num_tables, std::max<int64_t>(1, num_parts));
  torch::stable::parallel_for(0, static_cast<int64_t>(parts.size()), 1, [&](int64_t first, int64_t last) {
    static thread_local DedupScratch scratch;
    for (int64_t part = first; part < last; ++part)
      for (const int32_t table : parts[part]) {
        const int64_t begin = offsets[table];
        unique_offset[table + 1] = dedup_ids(id + begin, offsets[table + 1] - begin, scratch, unique + begin, index + begin, count + begin);
      }
  });
  unique_offset[0] = 0;
  for (int64_t table = 0; table < num_tables; ++table) {
    const int64_t begin = offsets[table], num_before = unique_offset[table], num_unique = unique_offset[table + 1];
    unique_offset[table + 1] += num_before;
    if (num_before == begin) continue;
    std::copy(unique + begin, unique + begin + num_unique, unique + num_before);
    std::copy(count + begin, count + begin + num_unique, count + num_before);
  }
  torch::stable::parallel_for(0, num_tables, grain, [&](int64_t first, int64_t last) {
    for (int64_t table = std::max<int64_t>(first, 1); table < last; ++table)  // the first begins at 0
      for (int64_t i = offsets[table]; i < offsets[table + 1]; ++i) index[i] += static_cast<int32_t>(unique_offset[table]);
  });
  const int64_t num_unique = unique_offset[num_tables];
  std::fill(unique + num_unique, unique + num_ids, 0);
  std::fill(count + num_unique, count + num_ids, 0);
  return {unique_ids, unique_offsets, inverse, counts};
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("dedup_ids", TORCH_BOX(&sparrow::dedup_ids_cpu)); }
