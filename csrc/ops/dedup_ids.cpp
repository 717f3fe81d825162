#include "core/dedup_ids.h"

#include <algorithm>
#include <tuple>
#include <vector>

#include "ops/kept_output.h"
#include "ops/operator.h"
#include "ops/tensor_access.h"

namespace sparrow {

std::tuple<Tensor, Tensor, Tensor, Tensor> dedup_ids_cpu(std::vector<Tensor> ids, Tensor table_offsets) {
  // A few thousand ids are one thread's; of a shared table every thread looks at all ids, so beyond a dozen they gain nothing.
  constexpr int64_t kIdsPerThread = 2048, kMostParts = 12;
  IdColumns columns;
  for (const Tensor& column : ids) columns.add(input<int64_t>(column, "ids"), column.numel());
  const int64_t num_ids = columns.num_ids(), num_tables = table_offsets.numel() - 1;
  STD_TORCH_CHECK(num_ids < INT32_MAX, "ids: one call takes fewer than 2^31, got ", num_ids);
  const int64_t* offsets = offsets_of(table_offsets, num_ids, "table_offsets");
  Tensor unique_ids = empty_kept<int64_t>({num_ids}, table_offsets);
  Tensor unique_offsets = empty<int64_t>({num_tables + 1}, table_offsets);
  Tensor inverse = empty_kept<int32_t>({num_ids}, table_offsets);
  Tensor counts = empty_kept<int32_t>({num_ids}, table_offsets);
  auto* unique = output<int64_t>(unique_ids, "unique_ids");
  auto* unique_offset = output<int64_t>(unique_offsets, "unique_offsets");
  auto* count = output<int32_t>(counts, "counts");
  const int64_t num_parts =
      std::clamp<int64_t>(num_ids / kIdsPerThread, 1, std::min<int64_t>(kMostParts, torch::stable::get_num_threads()));
  Dedup dedup(columns, offsets, num_tables, num_parts, output<int32_t>(inverse, "inverse"));
  const auto each = [](int64_t number, int64_t grain, auto phase) {
    parallel_for(0, number, grain, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) phase(i);
    });
  };
  const int64_t num_pieces = dedup.num_pieces(),
                grain = num_parts == 1 ? std::max<int64_t>(1, num_pieces) : (num_pieces + num_parts - 1) / num_parts;
  each(num_parts, 1, [&](int64_t part) { dedup.find(part); });
  if (dedup.any_shared()) each(num_pieces, grain, [&](int64_t piece) { dedup.count(piece); });
  dedup.sum(unique_offset);
  if (dedup.any_shared()) each(num_pieces, grain, [&](int64_t piece) { dedup.number(piece, unique, count); });
  each(num_pieces, grain, [&](int64_t piece) { dedup.write(piece, unique_offset, unique, count); });
  return {unique_ids, unique_offsets, inverse, counts};
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("dedup_ids", SPARROW_BOX(&sparrow::dedup_ids_cpu)); }
