#include "core/pad_rows.h"

#include <bit>

#include "ops/operator.h"
#include "ops/ragged_columns.h"

namespace sparrow {
namespace {

constexpr int64_t kParameters = 7;

// Checks one column's parameters. Returns the number of items of a padded row.
int64_t row_items_of(const int64_t* parameters, int64_t column, int64_t num_rows) {
  const int64_t num_levels = parameters[0];
  constexpr int64_t kMostItems = int64_t{1} << 48;
  int64_t row_items = 1;
  for (int64_t level = 0; level < num_levels; ++level) {
    const int64_t length = parameters[1 + level];
    STD_TORCH_CHECK(length >= 0, "columns: column ", column, ", level ", level, " is to have length ", length, ", but must 0 or more");
    const bool fits = !__builtin_mul_overflow(row_items, length, &row_items) && row_items < kMostItems;
    STD_TORCH_CHECK(fits, "columns: column ", column, " is to have too long rows: the product of its lengths is above 2^48");
  }
  int64_t num_items = 0;
  const bool fits = !__builtin_mul_overflow(row_items, num_rows, &num_items) && num_items < kMostItems;
  STD_TORCH_CHECK(fits, "columns: column ", column, " is to have ", num_rows, " rows of ", row_items, " items, which are too many");
  const int64_t keeps_tail = parameters[4], fills_begin = parameters[5];
  STD_TORCH_CHECK(keeps_tail == 0 || keeps_tail == 1, "columns: column ", column, " keeps side ", keeps_tail,
                  ", but must keep 0 (head) or 1 (tail)");
  STD_TORCH_CHECK(fills_begin == 0 || fills_begin == 1, "columns: column ", column, " is filled on side ", fills_begin,
                  ", but must on 0 (right) or 1 (left)");
  return row_items;
}

// A column to be padded, its parameters checked.
struct Padded {
  const int64_t* parameters;
  const ListLevel* levels;
  int64_t row_items, item_bytes;
  const void* values;  // null: the mask is written
  int64_t num_values;
  void* out;
};

template <typename Word>
PaddedColumn<Word> column_of(const Padded& padded) {
  const int64_t* parameters = padded.parameters;
  PaddedColumn<Word> column{};
  column.num_levels = static_cast<int>(parameters[0]);
  int64_t words = 1;
  for (int level = column.num_levels - 1; level >= 0; --level) {
    column.offsets[level] = padded.levels[level].offsets;
    column.lengths[level] = parameters[1 + level];
    column.list_words[level] = words *= column.lengths[level];
  }
  column.keeps_tail = parameters[4] == 1;
  column.fills_begin = parameters[5] == 1;
  column.values = static_cast<const Word*>(padded.values);
  column.values_end = column.values + padded.num_values;
  column.padding = static_cast<Word>(parameters[6]);
  column.out = static_cast<Word*>(padded.out);
  return column;
}

}  // namespace

std::vector<Tensor> pad_rows_cpu(std::vector<Tensor> values, std::vector<Tensor> offsets, Tensor columns, bool mask) {
  const int64_t num_columns = mask && columns.dim() == 2 ? columns.size(0) : static_cast<int64_t>(values.size());
  const int64_t* parameters = parameters_of(columns, num_columns, kParameters);
  if (!mask || !values.empty()) check_count(values, num_columns, "values");
  std::vector<int64_t> num_levels(num_columns), num_rows(num_columns);
  for (int64_t column = 0; column < num_columns; ++column) num_levels[column] = parameters[kParameters * column];
  const std::vector<ListLevel> levels = levels_of(offsets, num_levels);
  check_levels(levels, values);

  std::vector<Padded> padded(num_columns);
  std::vector<Tensor> outputs;
  outputs.reserve(num_columns);
  for (int64_t column = 0, first = 0; column < num_columns; first += num_levels[column++]) {
    Padded& one = padded[column];
    one.parameters = parameters + kParameters * column;
    one.levels = &levels[first];
    num_rows[column] = one.levels[0].num_lists;
    one.row_items = row_items_of(one.parameters, column, num_rows[column]);
    one.item_bytes = mask ? sizeof(float) : item_bytes_of(values[column], column);
    if (mask) {
      outputs.push_back(column_output<float>(num_rows[column] * one.row_items, columns));
    } else {
      one.values = values[column].const_data_ptr();
      one.num_values = values[column].numel();
      outputs.push_back(column_output(values[column].scalar_type(), one.item_bytes, num_rows[column] * one.row_items, values[column]));
    }
    one.out = outputs[column].mutable_data_ptr();
  }
  for_pieces(row_pieces(num_rows), [&](int64_t, const RowPiece& piece) {
    const Padded& one = padded[piece.column];
    with_word(one.item_bytes, [&](auto word) {
      using Word = decltype(word);
      PaddedColumn<Word> column = column_of<Word>(one);
      if (mask) {
        column.present = static_cast<Word>(std::bit_cast<uint32_t>(1.0f));
        column.padding = 0;
      }
      pad_piece(column, piece.first, piece.last);
    });
  });
  return outputs;
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("pad_rows", SPARROW_BOX(&sparrow::pad_rows_cpu)); }
