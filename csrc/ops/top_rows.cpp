#include "core/top_rows.h"

#include <tuple>
#include <utility>

#include "ops/operator.h"
#include "ops/ragged_columns.h"

namespace sparrow {

std::tuple<std::vector<Tensor>, std::vector<Tensor>, std::vector<Tensor>> top_rows_cpu(std::vector<Tensor> values,
                                                                                       std::vector<Tensor> weights,
                                                                                       std::vector<Tensor> offsets, Tensor columns) {
  const auto num_columns = static_cast<int64_t>(values.size());
  const int64_t* parameters = parameters_of(columns, num_columns, 1);
  std::vector<int64_t> num_lists(num_columns), num_items(num_columns), item_bytes(num_columns);
  check_count(weights, num_columns, "weights");
  for (int64_t column = 0; column < num_columns; ++column) {
    item_bytes[column] = item_bytes_of(values[column], column);
    STD_TORCH_CHECK(parameters[column] >= 0, "columns: column ", column, " is to keep ", parameters[column], " items, but must 0 or more");
    STD_TORCH_CHECK(weights[column].numel() == values[column].numel(), "weights: column ", column, " has ", weights[column].numel(),
                    " weights for ", values[column].numel(), " values; without weights none is greatest");
  }
  const std::vector<const float*> weight = weights_of(weights, values);
  const std::vector<ListLevel> levels = levels_of(offsets, std::vector<int64_t>(num_columns, 1));
  check_levels(levels, values);
  check_list_sizes(values);
  for (int64_t column = 0; column < num_columns; ++column) num_lists[column] = levels[column].num_lists;
  const std::vector<RowPiece> pieces = row_pieces(num_lists);
  std::vector<Counts<1>> starts(pieces.size());
  for_pieces(pieces, [&](int64_t i, const RowPiece& piece) {
    starts[i][0] = count_kept(levels[piece.column].offsets, piece.first, piece.last, parameters[piece.column]);
  });
  const std::vector<Counts<1>> totals = starts_of(pieces, num_columns, starts);

  for (int64_t column = 0; column < num_columns; ++column) num_items[column] = totals[column][0];
  CutOutputs outputs = cut_outputs(values, weights, num_items);
  std::vector<Tensor> out_offsets;
  std::vector<TopColumn> tops(num_columns);
  out_offsets.reserve(num_columns);
  for (int64_t column = 0; column < num_columns; ++column) {
    out_offsets.push_back(column_output<int64_t>(num_lists[column] + 1, columns));
    auto* out = static_cast<int64_t*>(out_offsets[column].mutable_data_ptr());
    out[num_lists[column]] = num_items[column];
    tops[column] = {parameters[column], levels[column].offsets, out, runs_of(values[column], outputs.values[column], item_bytes[column]),
                    runs_of(weights[column], outputs.weights[column], sizeof(float))};
  }
  const auto num_pieces = static_cast<int64_t>(pieces.size());
  for_pieces(pieces, [&](int64_t i, const RowPiece& piece) {
    const bool is_last = i + 1 == num_pieces || pieces[i + 1].column != piece.column;
    const int64_t stop = is_last ? num_items[piece.column] : starts[i + 1][0];
    with_word(item_bytes[piece.column],
              [&](auto word) { write_top<decltype(word)>(tops[piece.column], piece.first, piece.last, starts[i][0], stop); });
  });
  return {std::move(outputs.values), std::move(outputs.weights), std::move(out_offsets)};
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("top_rows", SPARROW_BOX(&sparrow::top_rows_cpu)); }
