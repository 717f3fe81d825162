#include "core/length_rows.h"

#include "ops/operator.h"
#include "ops/ragged_columns.h"

namespace sparrow {

std::vector<Tensor> length_rows_cpu(std::vector<Tensor> offsets, Tensor columns) {
  const int64_t num_columns = columns.dim() == 2 ? columns.size(0) : 0;
  const int64_t* parameters = parameters_of(columns, num_columns, 2);
  std::vector<int64_t> num_levels(num_columns), num_lists(num_columns);
  for (int64_t column = 0; column < num_columns; ++column) num_levels[column] = parameters[2 * column];
  const std::vector<ListLevel> levels = levels_of(offsets, num_levels);
  std::vector<const ListLevel*> chosen(num_columns);
  std::vector<Tensor> lengths;
  std::vector<int64_t*> out(num_columns);
  lengths.reserve(num_columns);
  for (int64_t column = 0, first = 0; column < num_columns; first += num_levels[column++]) {
    const int64_t level = parameters[2 * column + 1];
    STD_TORCH_CHECK(level >= 0 && level < num_levels[column], "columns: column ", column, " has no level ", level, ", but ",
                    num_levels[column], " levels");
    chosen[column] = &levels[first + level];
    num_lists[column] = chosen[column]->num_lists;
    lengths.push_back(column_output<int64_t>(num_lists[column], columns));
    out[column] = static_cast<int64_t*>(lengths[column].mutable_data_ptr());
  }
  std::atomic<int64_t> wrong = -1;
  for_pieces(row_pieces(num_lists), [&](int64_t, const RowPiece& piece) {
    if (!lengths_of(chosen[piece.column]->offsets, piece.first, piece.last, out[piece.column])) wrong = piece.column;
  });
  STD_TORCH_CHECK(wrong < 0, "offsets: column ", wrong.load(), ", level ", chosen[std::max<int64_t>(wrong, 0)]->level,
                  " decreases somewhere, but must not");
  return lengths;
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("length_rows", SPARROW_BOX(&sparrow::length_rows_cpu)); }
