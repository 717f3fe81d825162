#include "core/init_rows.h"

#include <vector>

#include "ops/block_access.h"
#include "ops/operator.h"

namespace sparrow {
namespace {

template <typename W>
void run(const std::vector<Tensor>& weights, const std::vector<Tensor>& element_slots, const std::vector<Tensor>& row_slots,
         const Tensor& row_ids, const Tensor& meta, const Tensor& rows, const Tensor& ids, const Tensor& table_offsets,
         const Tensor& positions, const Tensor& num_positions, const Tensor& seeds, int64_t initializer, const Tensor& parameters,
         const Tensor& slot_values) {
  const auto weight = blocks_of<W>(weights, "weights");
  const auto element = blocks_of<Compute<W>>(element_slots, "element_slots"), per_row = blocks_of<Compute<W>>(row_slots, "row_slots");
  const int64_t num_row_slots = per_row.width;
  const int64_t num_element_slots = weight.width == 0 ? 0 : element.width / weight.width;
  check_covers(element, weight, "element_slots");
  check_covers(per_row, weight, "row_slots");
  STD_TORCH_CHECK(element.width == num_element_slots * weight.width, "element_slots must be a multiple of ", weight.width, " wide, got ",
                  element.width);
  STD_TORCH_CHECK(seeds.numel() == table_offsets.numel() - 1 && parameters.numel() == 2 * seeds.numel(),
                  "seeds and parameters must hold one row a table");
  STD_TORCH_CHECK(
      slot_values.dim() == 2 && slot_values.size(0) == seeds.numel() && slot_values.size(1) == num_element_slots + num_row_slots,
      "slot_values must be [num_tables, num_slots] = [", seeds.numel(), ", ", num_element_slots + num_row_slots, "]");
  STD_TORCH_CHECK(row_ids.numel() >= weight.num_rows() && meta.dim() == 2 && meta.size(0) >= weight.num_rows() && meta.size(1) == 4,
                  "row_ids [rows] and meta [rows, 4] must cover every row of the blocks");
  const int64_t count = scalar(num_positions, "num_positions");
  STD_TORCH_CHECK(count >= 0 && count <= positions.numel(), "num_positions must not exceed the number of positions");
  STD_TORCH_CHECK(rows.numel() == ids.numel(), "rows and ids must be of equal length, got ", rows.numel(), " and ", ids.numel());
  const NewRows<W> in{weight,
                      element,
                      per_row,
                      output<int64_t>(row_ids, "row_ids"),
                      reinterpret_cast<RowMeta*>(output<int32_t>(meta, "meta")),
                      rows_of(rows, weight.num_rows(), "rows"),
                      input<int64_t>(ids, "ids"),
                      offsets_of(table_offsets, ids.numel(), "table_offsets"),
                      seeds.numel(),
                      indices_of(positions, ids.numel(), "positions", count),
                      input<int64_t>(seeds, "seeds"),
                      initializer,
                      input<double>(parameters, "parameters"),
                      input<double>(slot_values, "slot_values")};
  for (int64_t i = 1; i < count; ++i) STD_TORCH_CHECK(in.positions[i - 1] < in.positions[i], "positions must increase, do not at ", i);
  parallel_for(0, count, 256, [&](int64_t first, int64_t last) { init_rows(in, first, last); });
}

}  // namespace

void init_rows_cpu(std::vector<Tensor> weights, std::vector<Tensor> element_slots, std::vector<Tensor> row_slots, Tensor row_ids,
                   Tensor meta, Tensor rows, Tensor ids, Tensor table_offsets, Tensor positions, Tensor num_positions, Tensor seeds,
                   int64_t initializer, Tensor parameters, Tensor slot_values) {
  STD_TORCH_CHECK(!weights.empty(), "weights must have at least one block");
  STD_TORCH_CHECK(initializer >= kConstant && initializer <= kTruncatedNormal, "initializer must be from 0 to 3, got ", initializer);
  with_weight_type(weights[0].scalar_type(), [&](auto weight) {
    run<decltype(weight)>(weights, element_slots, row_slots, row_ids, meta, rows, ids, table_offsets, positions, num_positions, seeds,
                          initializer, parameters, slot_values);
  });
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("init_rows_", SPARROW_BOX(&sparrow::init_rows_cpu)); }
