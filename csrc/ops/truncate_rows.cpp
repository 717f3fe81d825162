#include "core/truncate_rows.h"

#include <tuple>
#include <utility>

#include "ops/operator.h"
#include "ops/ragged_columns.h"

namespace sparrow {
namespace {

constexpr int64_t kParameters = 5;

// One column's parameters, checked: levels, the level that is cut, length, side kept, empty lists added.
struct Cut {
  int64_t num_levels, level, length, keeps_tail, added;
};

Cut cut_of(const int64_t* parameters, int64_t column, const ListLevel* levels) {
  const Cut cut{parameters[0], parameters[1], parameters[2], parameters[3], parameters[4]};
  STD_TORCH_CHECK(cut.level >= 0 && cut.level < cut.num_levels, "columns: column ", column, " has no level ", cut.level, ", but ",
                  cut.num_levels, " levels");
  STD_TORCH_CHECK(cut.length >= 0, "columns: column ", column, " is to be cut to length ", cut.length, ", but must to 0 or more");
  STD_TORCH_CHECK(cut.keeps_tail == 0 || cut.keeps_tail == 1, "columns: column ", column, " keeps side ", cut.keeps_tail,
                  ", but must keep 0 (head) or 1 (tail)");
  STD_TORCH_CHECK(cut.added >= 0 && cut.added <= 2, "columns: column ", column, " adds empty lists by ", cut.added,
                  ", but must by 0 (none), 1 (at the end) or 2 (at the beginning)");
  STD_TORCH_CHECK(cut.added == 0 || cut.level < cut.num_levels - 1, "columns: column ", column, " adds empty lists to level ", cut.level,
                  ", whose elements are items; pad_rows fills them up");
  int64_t num_added = 0;
  constexpr int64_t kMostAdded = int64_t{1} << 48;
  STD_TORCH_CHECK(
      cut.added == 0 || (!__builtin_mul_overflow(levels[cut.level].num_lists, cut.length, &num_added) && num_added < kMostAdded),
      "columns: column ", column, ": ", levels[cut.level].num_lists, " lists of length ", cut.length, " are too many");
  return cut;
}

}  // namespace

std::tuple<std::vector<Tensor>, std::vector<Tensor>, std::vector<Tensor>> truncate_rows_cpu(std::vector<Tensor> values,
                                                                                            std::vector<Tensor> weights,
                                                                                            std::vector<Tensor> offsets, Tensor columns) {
  const auto num_columns = static_cast<int64_t>(values.size());
  const int64_t* parameters = parameters_of(columns, num_columns, kParameters);
  std::vector<int64_t> num_levels(num_columns), num_lists(num_columns), num_items(num_columns), item_bytes(num_columns);
  for (int64_t column = 0; column < num_columns; ++column) {
    num_levels[column] = parameters[kParameters * column];
    item_bytes[column] = item_bytes_of(values[column], column);
  }
  const std::vector<const float*> weight = weights_of(weights, values);
  const std::vector<ListLevel> levels = levels_of(offsets, num_levels);
  check_levels(levels, values);

  std::vector<CutColumn> cuts(num_columns);
  std::vector<const ListLevel*> first_levels(num_columns);
  for (int64_t column = 0, first = 0; column < num_columns; first += num_levels[column++]) {
    first_levels[column] = &levels[first];
    const Cut cut = cut_of(parameters + kParameters * column, column, first_levels[column]);
    CutColumn& out = cuts[column];
    out = {
        static_cast<int>(cut.num_levels - cut.level), cut.length, cut.keeps_tail == 1, static_cast<EmptyLists>(cut.added), {}, {}, {}, {}};
    for (int level = 0; level < out.num_levels; ++level) out.offsets[level] = first_levels[column][cut.level + level].offsets;
    num_lists[column] = first_levels[column][cut.level].num_lists;
  }
  const std::vector<RowPiece> pieces = row_pieces(num_lists);
  std::vector<LevelCounts> starts(pieces.size());
  for_pieces(pieces, [&](int64_t i, const RowPiece& piece) { starts[i] = count_cut(cuts[piece.column], piece.first, piece.last); });
  const std::vector<LevelCounts> totals = starts_of(pieces, num_columns, starts);

  for (int64_t column = 0; column < num_columns; ++column) num_items[column] = totals[column][cuts[column].num_levels - 1];
  CutOutputs outputs = cut_outputs(values, weights, num_items);
  std::vector<Tensor> out_offsets;
  out_offsets.reserve(levels.size());
  for (int64_t column = 0; column < num_columns; ++column) {
    CutColumn& cut = cuts[column];
    const int64_t num_above = num_levels[column] - cut.num_levels;
    int64_t lists = num_lists[column];
    for (int64_t level = 0; level < num_levels[column]; ++level) {
      const ListLevel& from = first_levels[column][level];
      const bool is_above = level < num_above;
      const int64_t count = is_above ? from.num_lists : lists;
      out_offsets.push_back(column_output<int64_t>(count + 1, columns));
      auto* out = static_cast<int64_t*>(out_offsets.back().mutable_data_ptr());
      if (is_above) {
        std::memcpy(out, from.offsets, (count + 1) * sizeof(int64_t));
      } else {
        cut.out_offsets[level - num_above] = out;
        lists = out[count] = totals[column][level - num_above];
      }
    }
    cut.values = runs_of(values[column], outputs.values[column], item_bytes[column]);
    if (weight[column] != nullptr) cut.weights = runs_of(weights[column], outputs.weights[column], sizeof(float));
  }
  const auto num_pieces = static_cast<int64_t>(pieces.size());
  for_pieces(pieces, [&](int64_t i, const RowPiece& piece) {
    const bool is_last = i + 1 == num_pieces || pieces[i + 1].column != piece.column;
    write_cut(cuts[piece.column], piece.first, piece.last, starts[i], is_last ? totals[piece.column] : starts[i + 1]);
  });
  return {std::move(outputs.values), std::move(outputs.weights), std::move(out_offsets)};
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("truncate_rows", SPARROW_BOX(&sparrow::truncate_rows_cpu)); }
