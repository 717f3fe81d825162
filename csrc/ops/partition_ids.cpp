#include "core/partition_ids.h"

#include <algorithm>
#include <tuple>
#include <vector>

#include "ops/kept_output.h"
#include "ops/operator.h"
#include "ops/tensor_access.h"

namespace sparrow {

std::tuple<Tensor, Tensor, Tensor, Tensor> partition_ids_cpu(std::vector<Tensor> ids, Tensor table_offsets, Tensor salts,
                                                             Tensor first_slices) {
  constexpr int64_t kNumSlices = 65536;
  IdColumns columns;
  for (const Tensor& column : ids) columns.add(input<int64_t>(column, "ids"), column.numel());
  const int64_t num_ids = columns.num_ids(), num_tables = table_offsets.numel() - 1;
  STD_TORCH_CHECK(num_ids < INT32_MAX, "ids: one call takes fewer than 2^31, got ", num_ids);
  const int64_t* offsets = offsets_of(table_offsets, num_ids, "table_offsets");
  const Owners owners{offsets_of(first_slices, kNumSlices, "first_slices"), first_slices.numel() - 1};
  const auto* salt = input<int64_t>(salts, "salts");
  STD_TORCH_CHECK(salts.numel() == num_tables, "salts must have one entry a table, has ", salts.numel(), " for ", num_tables, " tables");
  Tensor owned_ids = empty_kept<int64_t>({num_ids}, table_offsets);
  Tensor order = empty_kept<int32_t>({num_ids}, table_offsets);
  Tensor inverse = empty_kept<int32_t>({num_ids}, table_offsets);
  Tensor counts = empty<int64_t>({owners.count, num_tables}, table_offsets);
  auto* owned = output<int64_t>(owned_ids, "owned_ids");
  auto* position = output<int32_t>(order, "order");
  Partition partition(columns, offsets, salt, num_tables, owners, output<int32_t>(inverse, "inverse"));
  const int64_t num_pieces = partition.num_pieces();
  // A few thousand ids are one thread's work.
  constexpr int64_t kIdsPerThread = 8192;
  const int64_t grain = std::max<int64_t>(1, num_pieces * kIdsPerThread / std::max<int64_t>(1, num_ids));
  const auto each = [&](auto phase) {
    parallel_for(0, num_pieces, grain, [&](int64_t first, int64_t last) {
      for (int64_t piece = first; piece < last; ++piece) phase(piece);
    });
  };
  each([&](int64_t piece) { partition.count(piece); });
  partition.sum(output<int64_t>(counts, "counts"));
  each([&](int64_t piece) { partition.write(piece, owned, position); });
  return {owned_ids, order, inverse, counts};
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("partition_ids", SPARROW_BOX(&sparrow::partition_ids_cpu)); }
