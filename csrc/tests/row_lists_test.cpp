// Columns combined row by row against plain loops, on exact copies of the memory, under AddressSanitizer and UBSan.
#include "core/row_lists.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <set>
#include <vector>

#include "core/concat_rows.h"
#include "core/cross_rows.h"
#include "core/lookup_rows.h"
#include "core/overlap_rows.h"
#include "core/subtract_rows.h"

namespace {

using namespace sparrow;

void expect(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "FAILED: %s\n", what);
  std::exit(1);
}

// A column of random lists; each array is as long as it must be, so that a byte read too far is seen.
struct Column {
  std::unique_ptr<int64_t[]> offsets, values;
  std::unique_ptr<float[]> weights;
  RowLists lists;
};

Column random_column(std::mt19937_64& random, int64_t num_rows, int64_t longest, int64_t num_ids, bool is_dense) {
  Column column;
  column.offsets = std::make_unique<int64_t[]>(num_rows + 1);
  for (int64_t i = 0; i < num_rows; ++i)
    column.offsets[i + 1] = column.offsets[i] + (is_dense ? 1 : static_cast<int64_t>(random() % (longest + 1)));
  const int64_t count = column.offsets[num_rows];
  column.values = std::make_unique<int64_t[]>(count);
  column.weights = std::make_unique<float[]>(count);
  for (int64_t i = 0; i < count; ++i) column.values[i] = static_cast<int64_t>(random() % num_ids) - num_ids / 2;
  for (int64_t i = 0; i < count; ++i) column.weights[i] = static_cast<float>(random() % 100) / 7;
  column.lists = {is_dense ? nullptr : column.offsets.get(), num_rows, count};
  return column;
}

void offsets_hold_or_fall() {
  const int64_t good[] = {0, 2, 2, 5}, falling[] = {0, 3, 2, 5}, wild[] = {0, INT64_MIN, 3}, beyond[] = {0, 9, 9};
  expect((RowLists{good, 3, 5}.hold(0, 3)) && (RowLists{good, 3, 5}.first_fall() == -1), "offsets that hold");
  expect(!(RowLists{falling, 3, 5}.hold(0, 3)) && (RowLists{falling, 3, 5}.first_fall() == 1), "offsets that fall");
  expect(!(RowLists{wild, 2, 3}.hold(0, 2)) && !(RowLists{beyond, 2, 3}.hold(0, 1)), "offsets beyond the values");
  expect((RowLists{nullptr, 3, 3}.hold(0, 3)) && (RowLists{nullptr, 3, 3})[2] == 2, "no offsets at all");
  std::vector<ResultRows> pieces;
  add_result_rows(0, 0, pieces);
  add_result_rows(1, kResultRows + 1, pieces);
  expect(pieces.size() == 2 && pieces[1].first == kResultRows && pieces[1].last == kResultRows + 1, "pieces of rows");
}

void rows_are_crossed() {
  std::mt19937_64 random(1);
  RowCrosser crosser;
  for (int round = 0; round < 3000; ++round) {
    const int64_t num_rows = random() % 60, num_inputs = 2 + random() % 3;
    const int64_t longest = round % 100 == 0 && num_rows < 5 ? 200 / num_inputs : num_inputs == 2 ? 12 : 4;
    std::vector<Column> columns;
    std::vector<CrossInput> inputs;
    bool is_weighted = false;
    for (int64_t i = 0; i < num_inputs; ++i) {
      columns.push_back(random_column(random, num_rows, longest, 1000, random() % 3 == 0));
      const bool has_weights = random() % 3 == 0;
      is_weighted |= has_weights;
      inputs.push_back({columns[i].values.get(), has_weights ? columns[i].weights.get() : nullptr, columns[i].lists});
    }
    std::vector<uint64_t> ids;
    std::vector<float> weights;
    std::vector<int64_t> ends = {0};
    for (int64_t row = 0; row < num_rows; ++row) {
      int64_t count = 1;
      for (const CrossInput& input : inputs) count *= input.lists[row + 1] - input.lists[row];
      for (int64_t at = 0; at < count; ++at) {
        std::vector<int64_t> combination(num_inputs);
        std::vector<float> factors(num_inputs);
        int64_t rest = at;
        for (int64_t i = num_inputs - 1; i >= 0; --i) {
          const int64_t length = inputs[i].lists[row + 1] - inputs[i].lists[row], place = inputs[i].lists[row] + rest % length;
          rest /= length;
          combination[i] = inputs[i].ids[place];
          factors[i] = inputs[i].weights == nullptr ? 1.0f : inputs[i].weights[place];
        }
        ids.push_back(murmur::hash(reinterpret_cast<const uint8_t*>(combination.data()), 8 * num_inputs));
        float product = factors[0];
        for (int64_t i = 1; i < num_inputs; ++i) product *= factors[i];
        weights.push_back(product);
      }
      ends.push_back(static_cast<int64_t>(ids.size()));
    }
    auto begins = std::make_unique<int64_t[]>(num_rows + 1);
    expect(cross_offsets(inputs.data(), num_inputs, 0, num_rows, begins.get()) == ends.back(), "the number of combinations");
    expect(std::equal(ends.begin(), ends.end(), begins.get()), "where rows begin");
    auto out = std::make_unique<uint64_t[]>(ids.size());
    auto out_weights = std::make_unique<float[]>(ids.size());
    crosser.cross(inputs.data(), num_inputs, 0, num_rows, begins.get(), out.get(), is_weighted ? out_weights.get() : nullptr);
    expect(std::equal(ids.begin(), ids.end(), out.get()), "ids are hashed");
    expect(!is_weighted || std::equal(weights.begin(), weights.end(), out_weights.get()), "weights are multiplied");
  }
  // Counts stop before they overflow; a row of none stays none.
  const int64_t huge[] = {0, int64_t{1} << 40, int64_t{1} << 41}, none[] = {0, 0, 1};
  const CrossInput inputs[] = {
      {nullptr, nullptr, {huge, 2, int64_t{1} << 41}}, {nullptr, nullptr, {huge, 2, int64_t{1} << 41}}, {nullptr, nullptr, {none, 2, 1}}};
  int64_t begins[3];
  expect(cross_offsets(inputs, 3, 0, 2, begins) == kMostCrossed + 1 && begins[1] == 0, "too many combinations are seen");
}

template <typename Word>
void rows_are_concatenated() {
  std::mt19937_64 random(2);
  for (int round = 0; round < 2000; ++round) {
    const int64_t num_rows = random() % 20, num_inputs = 1 + random() % 4;
    std::vector<Column> columns;
    std::vector<std::unique_ptr<Word[]>> words;
    std::vector<ConcatInput> inputs;
    int64_t total = 0;
    for (int64_t i = 0; i < num_inputs; ++i) {
      columns.push_back(random_column(random, num_rows, 30, 100, random() % 3 == 0));
      const int64_t count = columns[i].lists.num_values;
      words.push_back(std::make_unique<Word[]>(count));
      for (int64_t at = 0; at < count; ++at) words[i][at] = static_cast<Word>(random());
      inputs.push_back({words[i].get(), random() % 2 ? columns[i].weights.get() : nullptr, columns[i].lists});
      total += count;
    }
    std::vector<Word> expected;
    std::vector<float> expected_weights;
    std::vector<int64_t> ends = {0};
    for (int64_t row = 0; row < num_rows; ++row) {
      for (int64_t i = 0; i < num_inputs; ++i)
        for (int64_t at = inputs[i].lists[row]; at < inputs[i].lists[row + 1]; ++at) {
          expected.push_back(words[i][at]);
          expected_weights.push_back(inputs[i].weights == nullptr ? 1.0f : inputs[i].weights[at]);
        }
      ends.push_back(static_cast<int64_t>(expected.size()));
    }
    auto out = std::make_unique<Word[]>(total);
    auto weights = std::make_unique<float[]>(total);
    auto offsets = std::make_unique<int64_t[]>(num_rows + 1);
    // In two pieces, the later first: a piece writes its own rows alone.
    const int64_t middle = num_rows / 2;
    concat_rows(inputs.data(), num_inputs, middle, num_rows, out.get(), weights.get(), offsets.get());
    concat_rows(inputs.data(), num_inputs, 0, middle, out.get(), weights.get(), offsets.get());
    expect(std::equal(expected.begin(), expected.end(), out.get()), "values are concatenated");
    expect(std::equal(expected_weights.begin(), expected_weights.end(), weights.get()), "weights are concatenated");
    expect(std::equal(ends.begin(), ends.end(), offsets.get()), "offsets add up");
  }
}

// Rows of equal length are copied another way; rows that are equally long in one piece alone are not equally long in the next.
template <typename Word>
void even_rows_are_concatenated() {
  std::mt19937_64 random(3);
  for (int round = 0; round < 500; ++round) {
    const int64_t num_rows = 2 + random() % 20, num_inputs = 1 + random() % 4, middle = num_rows / 2;
    std::vector<std::unique_ptr<int64_t[]>> bounds;
    std::vector<std::unique_ptr<Word[]>> words;
    std::vector<ConcatInput> inputs;
    std::vector<Word> expected;
    std::vector<int64_t> ends = {0};
    for (int64_t i = 0; i < num_inputs; ++i) {
      const bool is_dense = random() % 3 == 0;
      const int64_t length = is_dense ? 1 : random() % 20, longer = is_dense ? 0 : random() % 2;
      bounds.push_back(std::make_unique<int64_t[]>(num_rows + 1));
      for (int64_t row = 0; row < num_rows; ++row) bounds[i][row + 1] = bounds[i][row] + length + (row >= middle ? longer : 0);
      const int64_t count = bounds[i][num_rows];
      words.push_back(std::make_unique<Word[]>(count));
      for (int64_t at = 0; at < count; ++at) words[i][at] = static_cast<Word>(random());
      inputs.push_back({words[i].get(), nullptr, {is_dense ? nullptr : bounds[i].get(), num_rows, count}});
    }
    for (int64_t row = 0; row < num_rows; ++row) {
      for (int64_t i = 0; i < num_inputs; ++i)
        for (int64_t at = inputs[i].lists[row]; at < inputs[i].lists[row + 1]; ++at) expected.push_back(words[i][at]);
      ends.push_back(static_cast<int64_t>(expected.size()));
    }
    for (const int64_t cut : {middle, middle + 1}) {
      auto out = std::make_unique<Word[]>(expected.size());
      auto offsets = std::make_unique<int64_t[]>(num_rows + 1);
      concat_rows<Word>(inputs.data(), num_inputs, cut, num_rows, out.get(), nullptr, offsets.get());
      concat_rows<Word>(inputs.data(), num_inputs, 0, cut, out.get(), nullptr, offsets.get());
      expect(std::equal(expected.begin(), expected.end(), out.get()), "values of even rows are concatenated");
      expect(std::equal(ends.begin(), ends.end(), offsets.get()), "offsets of even rows add up");
    }
  }
}

void queries_find_their_first_key() {
  std::mt19937_64 random(3);
  IdPlaces table;
  int num_long = 0;
  for (int round = 0; round < 3000; ++round) {
    const int64_t num_rows = random() % 6, longest = round % 10 == 0 ? 400 : 20;
    const Column queries = random_column(random, num_rows, longest, 50, random() % 3 == 0);
    const Column keys = random_column(random, num_rows, longest, 50, random() % 3 == 0);
    auto found = std::make_unique<int64_t[]>(queries.lists.num_values);
    for_first_keys(queries.values.get(), queries.lists, keys.values.get(), keys.lists, 0, num_rows, table,
                   [&](int64_t query, int64_t key, int64_t place) { found[query] = place < 0 ? -1 : key + place; });
    for (int64_t row = 0; row < num_rows; ++row) {
      num_long += is_long(queries.lists[row + 1] - queries.lists[row], keys.lists[row + 1] - keys.lists[row]);
      for (int64_t query = queries.lists[row]; query < queries.lists[row + 1]; ++query) {
        int64_t key = keys.lists[row];
        while (key < keys.lists[row + 1] && keys.values[key] != queries.values[query]) ++key;
        expect(found[query] == (key < keys.lists[row + 1] ? key : -1), "the first equal key");
      }
    }
  }
  expect(num_long > 100, "both ways are taken");
}

void overlaps_are_those_of_sets() {
  std::mt19937_64 random(4);
  IdPlaces table;
  for (int round = 0; round < 3000; ++round) {
    const int64_t num_rows = random() % 6, longest = round % 10 == 0 ? 400 : 12;
    const Column a = random_column(random, num_rows, longest, longest, random() % 3 == 0);
    const Column b = random_column(random, num_rows, longest, longest, random() % 3 == 0);
    for (int64_t kind = 0; kind < kNumOverlaps; ++kind) {
      auto out = std::make_unique<float[]>(num_rows);
      overlap_rows(static_cast<Overlap>(kind), a.values.get(), a.lists, b.values.get(), b.lists, 0, num_rows, table, out.get());
      for (int64_t row = 0; row < num_rows; ++row) {
        const std::set<int64_t> in_a(a.values.get() + a.lists[row], a.values.get() + a.lists[row + 1]);
        const std::set<int64_t> in_b(b.values.get() + b.lists[row], b.values.get() + b.lists[row + 1]);
        int64_t both = 0;
        for (const int64_t id : in_a) both += static_cast<int64_t>(in_b.count(id));
        const auto size_a = static_cast<int64_t>(in_a.size()), size_b = static_cast<int64_t>(in_b.size());
        const auto ratio = [&](int64_t of) { return of == 0 ? 0.0f : static_cast<float>(both) / static_cast<float>(of); };
        const float expected[] = {static_cast<float>(both),
                                  ratio(size_a),
                                  ratio(size_a + size_b - both),
                                  static_cast<float>(both == size_b),
                                  static_cast<float>(both == size_a && both == size_b),
                                  static_cast<float>(both != 0)};
        expect(out[row] == expected[kind], "an overlap");
      }
    }
  }
}

template <typename A, typename B>
void differences_are_row_by_row() {
  std::mt19937_64 random(5);
  for (int round = 0; round < 2000; ++round) {
    const int64_t num_rows = random() % 12;
    const Column lists = random_column(random, num_rows, 20, 1000, random() % 4 == 0);
    const int64_t count = lists.lists.num_values;
    auto values = std::make_unique<A[]>(count);
    auto others = std::make_unique<B[]>(count), ones = std::make_unique<B[]>(num_rows);
    for (int64_t i = 0; i < count; ++i) values[i] = static_cast<A>(lists.values[i]) / 4;
    for (int64_t i = 0; i < count; ++i) others[i] = static_cast<B>(random() % 1000);
    for (int64_t i = 0; i < num_rows; ++i) ones[i] = static_cast<B>(random() % 1000);
    auto out = std::make_unique<Difference<A, B>[]>(count);
    const auto same = [&](auto expected) {
      for (int64_t row = 0; row < num_rows; ++row)
        for (int64_t i = lists.lists[row]; i < lists.lists[row + 1]; ++i) expect(out[i] == expected(row, i), "a difference");
    };
    using D = Difference<A, B>;
    expect(subtract_aligned(values.get(), others.get(), count, out.get()), "no difference wraps");
    same([&](int64_t, int64_t i) { return static_cast<D>(values[i]) - static_cast<D>(others[i]); });
    expect(subtract_one_a_row<false>(values.get(), lists.lists, ones.get(), 0, num_rows, out.get()), "no difference wraps");
    same([&](int64_t row, int64_t i) { return static_cast<D>(values[i]) - static_cast<D>(ones[row]); });
    expect(subtract_one_a_row<true>(values.get(), lists.lists, ones.get(), 0, num_rows, out.get()), "no difference wraps");
    same([&](int64_t row, int64_t i) { return static_cast<D>(ones[row]) - static_cast<D>(values[i]); });
  }
}

void differences_beyond_int64_are_seen() {
  const int64_t a[] = {INT64_MIN, 0, INT64_MAX, INT64_MIN}, b[] = {1, INT64_MIN, -1, 0};
  for (int i = 0; i < 4; ++i) {
    int64_t out;
    expect(subtract_aligned(a + i, b + i, 1, &out) == (i == 3), "a difference beyond int64");
  }
  const int64_t offsets[] = {0, 1};
  int64_t out;
  expect(!subtract_one_a_row<true>(b, {offsets, 1, 1}, a, 0, 1, &out), "a difference beyond int64 of one value a row");
}

}  // namespace

int main() {
  offsets_hold_or_fall();
  rows_are_crossed();
  rows_are_concatenated<uint8_t>();
  rows_are_concatenated<uint16_t>();
  rows_are_concatenated<uint32_t>();
  rows_are_concatenated<uint64_t>();
  even_rows_are_concatenated<uint8_t>();
  even_rows_are_concatenated<uint64_t>();
  queries_find_their_first_key();
  overlaps_are_those_of_sets();
  differences_are_row_by_row<int64_t, int64_t>();
  differences_are_row_by_row<int64_t, float>();
  differences_are_row_by_row<float, float>();
  differences_are_row_by_row<float, double>();
  differences_are_row_by_row<double, int64_t>();
  differences_beyond_int64_are_seen();
  std::puts("row lists: ok");
}
