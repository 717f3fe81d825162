#include "core/subtract_rows.h"

#include <cstring>

#include "ops/list_access.h"
#include "ops/operator.h"

namespace sparrow {
namespace {

// Which of the two has one value a row; written in layouts.py, too.
enum Layout : int64_t { kAligned, kOneB, kOneA, kNumLayouts };

struct Subtraction {
  int64_t layout;
  const void *a, *b;
  ScalarType a_type, b_type;
  RowLists a_lists, b_lists;
  void* out;

  const RowLists& lists() const { return layout == kOneA ? b_lists : a_lists; }
};

template <typename A, typename B>
bool subtract_piece(const Subtraction& of, const ResultRows& piece) {
  const auto* a = static_cast<const A*>(of.a);
  const auto* b = static_cast<const B*>(of.b);
  auto* out = static_cast<Difference<A, B>*>(of.out);
  if (of.layout == kOneB) return subtract_one_a_row<false>(a, of.a_lists, b, piece.first, piece.last, out);
  if (of.layout == kOneA) return subtract_one_a_row<true>(b, of.b_lists, a, piece.first, piece.last, out);
  const int64_t first = of.a_lists[piece.first], last = of.a_lists[piece.last];
  return subtract_aligned(a + first, b + first, last - first, out + first);
}

// Calls run(A{}, B{}) with the values' types.
template <typename Run>
auto with_types(ScalarType a, ScalarType b, Run run) {
  const auto with_b = [&](auto of_a) {
    if (b == ScalarType::Long) return run(of_a, int64_t{});
    if (b == ScalarType::Float) return run(of_a, float{});
    return run(of_a, double{});
  };
  if (a == ScalarType::Long) return with_b(int64_t{});
  if (a == ScalarType::Float) return with_b(float{});
  return with_b(double{});
}

void check_values(const Tensor& tensor, const ColumnName& name) {
  const ScalarType type = tensor.scalar_type();
  STD_TORCH_CHECK(tensor.is_cpu() && tensor.is_contiguous(), name.argument, " of result ", name.number, " must be a contiguous CPU tensor");
  STD_TORCH_CHECK(type == ScalarType::Long || type == ScalarType::Float || type == ScalarType::Double, name.argument, " of result ",
                  name.number, " must be int64, float32 or float64");
}

// The offsets must be there, or not, as the layout says: an empty tensor by mistake would subtract other rows.
void check_layout(const Subtraction& of, int64_t result) {
  STD_TORCH_CHECK(of.layout >= 0 && of.layout < kNumLayouts, "columns: result ", result, " has layout ", of.layout,
                  ", must be 0 (aligned), 1 (b has one value a row) or 2 (a has one value a row)");
  STD_TORCH_CHECK(of.layout != kOneB || of.b_lists.offsets == nullptr, "b_offsets of result ", result,
                  " must be empty: b has one value a row by columns");
  STD_TORCH_CHECK(of.layout != kOneA || of.a_lists.offsets == nullptr, "a_offsets of result ", result,
                  " must be empty: a has one value a row by columns");
  STD_TORCH_CHECK(of.a_lists.num_rows == of.b_lists.num_rows, "result ", result, ": a has ", of.a_lists.num_rows, " rows, b ",
                  of.b_lists.num_rows);
  STD_TORCH_CHECK(of.layout != kAligned || ((of.a_lists.offsets == nullptr) == (of.b_lists.offsets == nullptr) &&
                                            of.a_lists.num_values == of.b_lists.num_values),
                  "result ", result, ": a and b must have equal offsets, or columns must say which has one value a row");
}

bool has_equal_offsets(const Subtraction& of, int64_t first, int64_t last) {
  const int64_t *a = of.a_lists.offsets, *b = of.b_lists.offsets;
  return of.layout != kAligned || a == b || std::memcmp(a + first, b + first, (last - first + 1) * sizeof *a) == 0;
}

// Throws where row by row a's offsets are not b's, or a difference leaves int64.
void check_rows(const Subtraction& of, int64_t result) {
  for (int64_t row = 0; row < of.lists().num_rows; ++row) {
    STD_TORCH_CHECK(has_equal_offsets(of, row, row), "result ", result, ": a_offsets and b_offsets differ at row ", row, ": ",
                    of.a_lists[row], " and ", of.b_lists[row]);
    if (of.a_type != ScalarType::Long || of.b_type != ScalarType::Long) continue;
    const auto *a = static_cast<const int64_t*>(of.a), *b = static_cast<const int64_t*>(of.b);
    for (int64_t i = of.lists()[row]; i < of.lists()[row + 1]; ++i) {
      const int64_t from = a[of.layout == kOneA ? row : i], less = b[of.layout == kOneB ? row : i];
      int64_t wrapped = 0;
      subtract(from, less, &wrapped);
      STD_TORCH_CHECK(wrapped >= 0, "result ", result, ": ", from, " - ", less, " in row ", row, " is beyond int64; subtract as float64");
    }
  }
}

}  // namespace

std::vector<Tensor> subtract_rows_cpu(std::vector<Tensor> a, std::vector<Tensor> a_offsets, std::vector<Tensor> b,
                                      std::vector<Tensor> b_offsets, Tensor columns) {
  const auto num_results = static_cast<int64_t>(a.size());
  STD_TORCH_CHECK(a_offsets.size() == a.size() && b.size() == a.size() && b_offsets.size() == a.size(),
                  "a, a_offsets, b and b_offsets must be of as many results, are ", a.size(), ", ", a_offsets.size(), ", ", b.size(),
                  " and ", b_offsets.size());
  const int64_t* layout = input<int64_t>(columns, "columns");
  STD_TORCH_CHECK(columns.numel() == num_results, "columns must be [", num_results, "], has ", columns.numel());
  std::vector<Subtraction> subtractions(num_results);
  std::vector<Tensor> out;
  out.reserve(num_results);
  std::vector<ResultRows> pieces;
  int64_t num_made = 0;
  for (int64_t result = 0; result < num_results; ++result) {
    check_values(a[result], {"a", "result", result});
    check_values(b[result], {"b", "result", result});
    Subtraction& of = subtractions[result];
    of = {layout[result],
          a[result].const_data_ptr(),
          b[result].const_data_ptr(),
          a[result].scalar_type(),
          b[result].scalar_type(),
          lists_of(a_offsets[result], a[result].numel(), {"a_offsets", "result", result}),
          lists_of(b_offsets[result], b[result].numel(), {"b_offsets", "result", result}),
          nullptr};
    check_layout(of, result);
    with_types(of.a_type, of.b_type, [&](auto of_a, auto of_b) {
      out.push_back(list_output<Difference<decltype(of_a), decltype(of_b)>>(of.lists().num_values, columns));
    });
    of.out = out.back().mutable_data_ptr();
    add_result_rows(result, of.lists().num_rows, pieces);
    num_made += of.lists().num_values;
  }
  const bool good = all_pieces<NoScratch>(pieces, num_made, [&](NoScratch&, const ResultRows& piece) {
    const Subtraction& of = subtractions[piece.result];
    if (!of.lists().hold(piece.first, piece.last) || !has_equal_offsets(of, piece.first, piece.last)) return false;
    return with_types(of.a_type, of.b_type,
                      [&](auto of_a, auto of_b) { return subtract_piece<decltype(of_a), decltype(of_b)>(of, piece); });
  });
  for (int64_t result = 0; !good && result < num_results; ++result) {
    const Subtraction& of = subtractions[result];
    check_no_fall(of.lists(), {of.layout == kOneA ? "b_offsets" : "a_offsets", "result", result});
    check_rows(of, result);
  }
  return out;
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("subtract_rows", SPARROW_BOX(&sparrow::subtract_rows_cpu)); }
