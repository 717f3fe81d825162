#include <algorithm>
#include <vector>

#include "core/initializer.h"
#include "ops/block_access.h"

namespace sparrow {
namespace {

constexpr int64_t kInitPrefetchAhead = 8;

// `values` gives the slots of a row in order, each `width / num_slots` values wide.
template <typename T>
void fill_slots(const Blocks<T>& blocks, int64_t row, const double* values, int64_t num_slots) {
  if (num_slots == 0) return;
  const int64_t slot_width = blocks.width / num_slots;
  for (int64_t slot = 0; slot < num_slots; ++slot)
    std::fill_n(blocks.row(row) + slot * slot_width, slot_width, static_cast<T>(values[slot]));
}

template <typename T>
void init_rows(const std::vector<Tensor>& weights, const std::vector<Tensor>& element_slots, const std::vector<Tensor>& row_slots,
               const Tensor& row_ids, const Tensor& meta, const Tensor& rows, const Tensor& ids, const Tensor& table_offsets,
               const Tensor& positions, const Tensor& num_positions, const Tensor& seeds, int64_t initializer, const Tensor& parameters,
               const Tensor& slot_values) {
  const auto weight = blocks_of<T>(weights, "weights"), element = blocks_of<T>(element_slots, "element_slots"),
             per_row = blocks_of<T>(row_slots, "row_slots");
  const int64_t num_row_slots = per_row.width;
  const int64_t num_element_slots = weight.width == 0 ? 0 : element.width / weight.width;
  check_covers(element, weight, "element_slots");
  check_covers(per_row, weight, "row_slots");
  STD_TORCH_CHECK(element.width == num_element_slots * weight.width, "element_slots must be a multiple of ", weight.width, " wide, got ",
                  element.width);
  STD_TORCH_CHECK(slot_values.numel() == num_element_slots + num_row_slots,
                  "slot_values must hold one value a slot: ", num_element_slots + num_row_slots);
  STD_TORCH_CHECK(seeds.numel() == table_offsets.numel() - 1 && parameters.numel() == 2 * seeds.numel(),
                  "seeds and parameters must hold one row a table");
  STD_TORCH_CHECK(row_ids.numel() >= weight.num_rows() && meta.dim() == 2 && meta.size(0) >= weight.num_rows() && meta.size(1) == 4,
                  "row_ids [rows] and meta [rows, 4] must cover every row of the blocks");
  const int64_t count = scalar(num_positions, "num_positions");
  STD_TORCH_CHECK(count >= 0 && count <= positions.numel(), "num_positions must not exceed the number of positions");
  STD_TORCH_CHECK(rows.numel() == ids.numel(), "rows and ids must be of equal length, got ", rows.numel(), " and ", ids.numel());
  const int32_t* position = indices_of(positions, ids.numel(), "positions", count);
  const int32_t* row = rows_of(rows, weight.num_rows(), "rows");
  const int64_t* id = input<int64_t>(ids, "ids");
  const int64_t* offsets = offsets_of(table_offsets, ids.numel(), "table_offsets");
  const int64_t* seed = input<int64_t>(seeds, "seeds");
  const double* parameter = input<double>(parameters, "parameters");
  const double* slot_value = input<double>(slot_values, "slot_values");
  int64_t* row_id = output<int64_t>(row_ids, "row_ids");
  int32_t* stamp = output<int32_t>(meta, "meta");
  torch::stable::parallel_for(0, count, 256, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      if (i + kInitPrefetchAhead < last && row[position[i + kInitPrefetchAhead]] >= 0) {
        const int64_t ahead = row[position[i + kInitPrefetchAhead]];
        weight.prefetch(ahead);
        if (num_element_slots != 0) element.prefetch(ahead);
        __builtin_prefetch(stamp + 4 * ahead, 1, 2);
        __builtin_prefetch(row_id + ahead, 1, 2);
      }
      const int32_t p = position[i], r = row[p];
      if (r < 0) continue;
      const int64_t table = std::upper_bound(offsets + 1, offsets + table_offsets.numel(), int64_t{p}) - (offsets + 1);
      init_row<T>(weight.row(r), weight.width, id[p], seed[table], initializer, parameter[2 * table], parameter[2 * table + 1]);
      fill_slots<T>(element, r, slot_value, num_element_slots);
      fill_slots<T>(per_row, r, slot_value + num_element_slots, num_row_slots);
      row_id[r] = id[p];
      std::fill_n(stamp + 4 * r, 3, 0);
      stamp[4 * r + 3] = static_cast<int32_t>(table);
    }
  });
}

}  // namespace

void init_rows_cpu(std::vector<Tensor> weights, std::vector<Tensor> element_slots, std::vector<Tensor> row_slots, Tensor row_ids,
                   Tensor meta, Tensor rows, Tensor ids, Tensor table_offsets, Tensor positions, Tensor num_positions, Tensor seeds,
                   int64_t initializer, Tensor parameters, Tensor slot_values) {
  STD_TORCH_CHECK(!weights.empty(), "weights must have at least one block");
  STD_TORCH_CHECK(initializer >= kConstant && initializer <= kNormal, "initializer must be 0, 1 or 2, got ", initializer);
  auto* run = weights[0].scalar_type() == ScalarType::Double ? &init_rows<double> : &init_rows<float>;
  run(weights, element_slots, row_slots, row_ids, meta, rows, ids, table_offsets, positions, num_positions, seeds, initializer, parameters,
      slot_values);
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("init_rows_", TORCH_BOX(&sparrow::init_rows_cpu)); }
