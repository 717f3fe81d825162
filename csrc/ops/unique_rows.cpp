#include "core/unique_rows.h"

#include <tuple>
#include <utility>

#include "core/kept_memory.h"
#include "ops/operator.h"
#include "ops/ragged_columns.h"

namespace sparrow {
namespace {

void check_integers(const Tensor& values, int64_t column) {
  switch (values.scalar_type()) {
    case ScalarType::Bool:
    case ScalarType::Byte:
    case ScalarType::Char:
    case ScalarType::Short:
    case ScalarType::Int:
    case ScalarType::Long:
    case ScalarType::UInt16:
    case ScalarType::UInt32:
    case ScalarType::UInt64: return;
    default:
      STD_TORCH_CHECK(false, "values: column ", column, " must have an integer dtype: numbers with a NaN are not equal to themselves");
  }
}

}  // namespace

std::tuple<std::vector<Tensor>, std::vector<Tensor>, std::vector<Tensor>> unique_rows_cpu(std::vector<Tensor> values,
                                                                                          std::vector<Tensor> weights,
                                                                                          std::vector<Tensor> offsets, Tensor columns) {
  const auto num_columns = static_cast<int64_t>(values.size());
  const int64_t* parameters = parameters_of(columns, num_columns, 1);
  std::vector<int64_t> num_lists(num_columns), num_items(num_columns), item_bytes(num_columns), scratch_starts(num_columns + 1);
  for (int64_t column = 0; column < num_columns; ++column) {
    item_bytes[column] = item_bytes_of(values[column], column);
    check_integers(values[column], column);
    STD_TORCH_CHECK(parameters[column] == 0 || parameters[column] == 1, "columns: column ", column, " has weights policy ",
                    parameters[column], ", but must have 0 (first) or 1 (sum)");
  }
  const std::vector<const float*> weight = weights_of(weights, values);
  const std::vector<ListLevel> levels = levels_of(offsets, std::vector<int64_t>(num_columns, 1));
  check_levels(levels, values);
  check_list_sizes(values);
  std::vector<Tensor> out_offsets;
  out_offsets.reserve(num_columns);
  for (int64_t column = 0; column < num_columns; ++column) {
    num_lists[column] = levels[column].num_lists;
    out_offsets.push_back(column_output<int64_t>(num_lists[column] + 1, columns));
    const int64_t bytes = values[column].numel() * (item_bytes[column] + (weight[column] != nullptr ? 4 : 0)) + 3;
    scratch_starts[column + 1] = scratch_starts[column] + (bytes + 63) / 64 * 64;
  }
  // How much is kept is known when it is found: it waits here until outputs of that size are made.
  const Scratch<char> scratch(scratch_starts.back());
  std::vector<UniqueColumn> uniques(num_columns);
  for (int64_t column = 0; column < num_columns; ++column) {
    char* kept = scratch.get() + scratch_starts[column];
    uniques[column] = {parameters[column] == 1,
                       levels[column].offsets,
                       static_cast<const char*>(values[column].const_data_ptr()),
                       weight[column],
                       kept,
                       reinterpret_cast<float*>(kept + (values[column].numel() * item_bytes[column] + 3) / 4 * 4),
                       static_cast<int64_t*>(out_offsets[column].mutable_data_ptr())};
  }
  const std::vector<RowPiece> pieces = row_pieces(num_lists);
  std::vector<Counts<1>> starts(pieces.size());
  for_pieces(pieces, [&](int64_t i, const RowPiece& piece) {
    with_word(item_bytes[piece.column],
              [&](auto word) { starts[i][0] = keep_first<decltype(word)>(uniques[piece.column], piece.first, piece.last); });
  });
  const std::vector<Counts<1>> totals = starts_of(pieces, num_columns, starts);

  for (int64_t column = 0; column < num_columns; ++column) {
    num_items[column] = totals[column][0];
    uniques[column].out_offsets[num_lists[column]] = num_items[column];
  }
  CutOutputs outputs = cut_outputs(values, weights, num_items);
  std::vector<std::array<char*, 2>> out(num_columns);
  for (int64_t column = 0; column < num_columns; ++column) {
    out[column][0] = static_cast<char*>(outputs.values[column].mutable_data_ptr());
    if (weight[column] != nullptr) out[column][1] = static_cast<char*>(outputs.weights[column].mutable_data_ptr());
  }
  const auto num_pieces = static_cast<int64_t>(pieces.size());
  for_pieces(pieces, [&](int64_t i, const RowPiece& piece) {
    const bool is_last = i + 1 == num_pieces || pieces[i + 1].column != piece.column;
    const int64_t start = starts[i][0], stop = is_last ? num_items[piece.column] : starts[i + 1][0];
    place_kept(uniques[piece.column], piece.first, piece.last, item_bytes[piece.column], start, stop, out[piece.column][0],
               out[piece.column][1]);
  });
  return {std::move(outputs.values), std::move(outputs.weights), std::move(out_offsets)};
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("unique_rows", SPARROW_BOX(&sparrow::unique_rows_cpu)); }
