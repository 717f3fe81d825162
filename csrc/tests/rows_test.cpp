// Philox, first values, new rows, stamps and update rules against plain arithmetic, under AddressSanitizer and UBSan.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "core/init_rows.h"
#include "core/rules/all.h"
#include "core/subnormals.h"
#include "core/touch_rows.h"
#include "core/update_rows.h"

namespace {

using namespace sparrow;

constexpr int64_t kRowsPerBlock = 4, kNumBlocks = 20, kNumRows = kRowsPerBlock * kNumBlocks;
constexpr int64_t kSizes[] = {0, 1, 7, 8, 9, 70};  // the last beyond what is prefetched
constexpr int64_t kWords[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, int64_t{1} << 32, INT64_MAX};

void expect(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "FAILED: %s\n", what);
  std::exit(1);
}

// Blocks on the heap, each by itself, so that a step beyond one is seen.
template <typename T>
struct Storage {
  std::vector<std::unique_ptr<T[]>> memory;
  Blocks<T> blocks;

  explicit Storage(int64_t width) {
    blocks.shift = 2, blocks.width = width;
    for (int64_t block = 0; block < (width == 0 ? 0 : kNumBlocks); ++block) {
      memory.push_back(std::make_unique<T[]>(kRowsPerBlock * width));
      blocks.data.push_back(memory.back().get());
    }
  }
};

void philox_gives_its_published_words() {
  expect(philox({0, 0, 0, 0}, {0, 0}) == std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}, "zeros");
  expect(philox({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}) == std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}, "ones");
  expect(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
             std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
         "digits of pi");
}

void normal_values_invert_the_distribution(std::mt19937_64& random) {
  for (int i = 0; i < 20000; ++i) {
    const uint32_t word = i < 3 ? i : static_cast<uint32_t>(random());
    const double z = normal_value(word & 0x7fffffff), tail = ((word & 0x7fffffff) + 0.5) * 0x1p-32;
    expect(std::abs(0.5 * std::erfc(z / std::sqrt(2.0)) - tail) < 2e-7 * 0.4 + 1e-12, "the tail of z is the word");
    expect(normal_value(word | 0x80000000) == -z, "the top bit is the sign");
    const double inside = normal_value(without_tails(word));
    expect(std::abs(inside) <= 2.0000003, "truncated at two standard deviations");
  }
}

// What docs/table-format.md says: column c is word c % 4 of the block c / 4 of the id, under the seed of the table.
template <typename W>
W first_value(int64_t id, int64_t seed, int64_t column, int64_t initializer, double a, double b) {
  const auto of_id = static_cast<uint64_t>(id), of_seed = static_cast<uint64_t>(seed);
  const auto low = [](uint64_t word) { return static_cast<uint32_t>(word & 0xffffffff); };
  const auto words = philox({low(of_id), low(of_id >> 32), low(column / 4), 0}, {low(of_seed), low(of_seed >> 32)});
  const uint32_t word = words[column % 4];
  double value = a;
  if (initializer == kUniform) value = a + (b - a) * ((word + 0.5) / 4294967296.0);
  if (initializer == kNormal) value = a + b * normal_value(word);
  if (initializer == kTruncatedNormal) value = a + b * normal_value(without_tails(word));
  return narrow<W>(static_cast<Compute<W>>(value));
}

template <typename W>
void first_values_are_of_seed_id_and_column(int64_t initializer) {
  for (const int64_t id : kWords)
    for (const int64_t seed : kWords)
      for (const int64_t dim : kSizes) {
        auto row = std::make_unique<W[]>(dim);
        init_row(row.get(), dim, id, seed, initializer, -0.5, 1.5);
        for (int64_t k = 0; k < dim; ++k)
          expect(widen(row[k]) == widen(first_value<W>(id, seed, k, initializer, -0.5, 1.5)), "a first value");
      }
  for (const double constant : {INFINITY, -INFINITY, NAN}) {
    auto row = std::make_unique<W[]>(9);
    init_row(row.get(), 9, 1, 2, kConstant, constant, 0.0);
    for (int64_t k = 0; k < 9; ++k)
      expect(std::isnan(constant) ? std::isnan(widen(row[k])) : widen(row[k]) == constant, "a constant that is no number");
  }
}

template <typename W>
void new_rows_are_whole(int64_t initializer) {
  for (const int64_t dim : {1, 3, 8, 17}) {
    Storage<W> weights(dim);
    Storage<Compute<W>> element(2 * dim), per_row(1);
    std::vector<int64_t> row_ids(kNumRows, -7);
    std::vector<RowMeta> meta(kNumRows, {-7, -7, -7, -7});
    const std::vector<int32_t> rows{5, 11, -1, 0}, positions{0, 2, 3};
    const std::vector<int64_t> ids{INT64_MIN, 2, 3, INT64_MAX}, offsets{0, 1, 4}, seeds{3, -4};
    const std::vector<double> parameters{-0.5, 2.0, 1.0, 1.5}, slot_values{0.25, 0.5, 2.0, 1.25, 1.5, 3.0};
    const NewRows<W> in{
        weights.blocks,   element.blocks, per_row.blocks, row_ids.data(),    meta.data(),       rows.data(), ids.data(), offsets.data(), 2,
        positions.data(), seeds.data(),   initializer,    parameters.data(), slot_values.data()};
    init_rows(in, 0, static_cast<int64_t>(positions.size()));
    for (const int32_t position : {0, 3}) {
      const int32_t row = rows[position], table = position == 0 ? 0 : 1;
      std::vector<W> expected(dim);
      init_row(expected.data(), dim, ids[position], seeds[table], initializer, parameters[2 * table], parameters[2 * table + 1]);
      for (int64_t column = 0; column < dim; ++column) {
        expect(widen(weights.blocks.row(row)[column]) == widen(expected[column]), "weights are the first values of the id");
        const auto* slots = element.blocks.row(row);
        expect(slots[column] == Compute<W>(0.25 + table) && slots[dim + column] == Compute<W>(0.5 + table), "slots of the table");
      }
      expect(*per_row.blocks.row(row) == Compute<W>(2 + table), "row-wise slots");
      expect(row_ids[row] == ids[position] && meta[row].table == table && meta[row].count == 0, "id and stamps");
    }
    expect(row_ids[11] == -7 && meta[11].table == -7, "rows that are not new stay");
  }
}

// Any number of new rows, divided anywhere, among tables some of which are empty.
void new_rows_are_of_their_tables(std::mt19937_64& random) {
  for (const int64_t count : kSizes) {
    std::vector<int32_t> rows(kNumRows), positions;
    for (int32_t row = 0; row < kNumRows; ++row) rows[row] = row;
    std::shuffle(rows.begin(), rows.end(), random);
    rows.resize(count);
    for (int32_t& row : rows)
      if (random() % 8 == 0) row = -1;
    for (int32_t position = 0; position < count; ++position)
      if (random() % 8 != 0) positions.push_back(position);
    std::vector<int64_t> ids(count), row_ids(kNumRows, -7);
    for (int64_t& id : ids) id = static_cast<int64_t>(random());
    const std::vector<int64_t> offsets{0, 0, count / 3, count / 3, count / 2, count, count}, seeds{0, 1, 2, 3, 4, 5};
    const std::vector<double> parameters(12, 0.5), slot_values{0, 1, 2, 3, 4, 5};
    std::vector<RowMeta> meta(kNumRows, {-7, -7, -7, -7});
    Storage<float> weights(3), element(3), per_row(0);
    const NewRows<float> in{
        weights.blocks,   element.blocks, per_row.blocks, row_ids.data(),    meta.data(),       rows.data(), ids.data(), offsets.data(), 6,
        positions.data(), seeds.data(),   kUniform,       parameters.data(), slot_values.data()};
    const auto end = static_cast<int64_t>(positions.size()), middle = end == 0 ? 0 : static_cast<int64_t>(random() % end);
    init_rows(in, middle, end);
    init_rows(in, 0, middle);
    std::vector<int64_t> expected_ids(kNumRows, -7);
    std::vector<int32_t> expected_tables(kNumRows, -7);
    for (const int32_t position : positions)
      for (int32_t table = 0; table < 6; ++table)
        if (rows[position] >= 0 && offsets[table] <= position && position < offsets[table + 1])
          expected_ids[rows[position]] = ids[position], expected_tables[rows[position]] = table;
    for (int64_t row = 0; row < kNumRows; ++row) {
      const int32_t table = expected_tables[row];
      expect(row_ids[row] == expected_ids[row] && meta[row].table == table, "the id and table of a row");
      expect(meta[row].last_used == std::min(table, 0) && meta[row].last_changed == std::min(table, 0), "the stamps of a row");
      for (int64_t k = 0; k < 3; ++k) {
        expect(element.blocks.row(row)[k] == std::max(table, 0), "the slot of a row's table");
        const float weight = table < 0 ? 0 : first_value<float>(expected_ids[row], seeds[table], k, kUniform, 0.5, 0.5);
        expect(weights.blocks.row(row)[k] == weight, "weights of new rows alone");
      }
    }
  }
}

void touched_rows_are_counted(std::mt19937_64& random) {
  for (const int64_t count : kSizes) {
    std::vector<int32_t> rows(kNumRows), counts(count);
    for (int32_t row = 0; row < kNumRows; ++row) rows[row] = row;
    std::shuffle(rows.begin(), rows.end(), random);
    rows.resize(count);
    for (int32_t& row : rows)
      if (random() % 8 == 0) row = -1;
    for (int32_t& occurrences : counts) occurrences = random() % 4 == 0 ? INT32_MAX : static_cast<int32_t>(random() % 100);
    for (const auto& [first, last] : {std::pair<int64_t, int64_t>{0, count}, {count / 3, count / 2}}) {
      const bool changed = first == 0;
      std::vector<RowMeta> meta(kNumRows);
      for (int32_t row = 0; row < kNumRows; ++row) meta[row] = {-row, row, row % 5 == 0 ? INT32_MAX - 50 : row, row % 3};
      std::vector<RowMeta> expected = meta;
      for (int64_t i = first; i < last; ++i)
        if (rows[i] >= 0) {
          const double sum = static_cast<double>(meta[rows[i]].count) + counts[i];
          expected[rows[i]].last_used = INT32_MAX;
          if (changed) expected[rows[i]].last_changed = INT32_MAX;
          expected[rows[i]].count = sum > 2147483647.0 ? INT32_MAX : static_cast<int32_t>(sum);
        }
      touch_rows(meta.data(), rows.data(), counts.data(), INT32_MAX, changed, first, last);
      for (int64_t row = 0; row < kNumRows; ++row)
        expect(meta[row].last_used == expected[row].last_used && meta[row].last_changed == expected[row].last_changed &&
                   meta[row].count == expected[row].count && meta[row].table == expected[row].table,
               "stamps and counts of a range");
    }
  }
}

void touched_rows_are_stamped() {
  std::vector<RowMeta> meta(kNumRows, {1, 2, INT32_MAX - 2, 3});
  const std::vector<int32_t> rows{4, -1, 0}, counts{3, 9, 1};
  touch_rows(meta.data(), rows.data(), counts.data(), 77, false, 0, 3);
  expect(meta[4].last_used == 77 && meta[4].last_changed == 2 && meta[4].count == INT32_MAX, "counts saturate");
  expect(meta[0].count == INT32_MAX - 1 && meta[1].last_used == 1, "others stay");
}

// rules_test.cpp has the arithmetic of rules; here is which rows they reach, for every type of weights, on exact memory.
template <typename W, typename Rule>
void a_rule_moves_its_rows_alone(std::mt19937_64& random) {
  using T = Compute<W>;
  for (const int64_t dim : {1, 5, 16, 19}) {
    Storage<W> weights(dim);
    Storage<T> element(Rule::kElementSlots * dim), per_row(Rule::kRowSlots);
    std::vector<RowMeta> meta(kNumRows, {0, 0, 0, 0});
    double hyper[kHyperWords] = {0.1, 0.5, 0.9, 0.9, 0.5, 1};
    hyper[kCorrection1] = 0.19, hyper[kCorrection2] = 0.0199, hyper[kGlobalStep] = 7, hyper[kTableStep] = 2;
    for (int64_t row = 0; row < kNumRows; ++row) std::fill_n(weights.blocks.row(row), dim, narrow<W>(T(0.5)));
    for (int64_t row = 0; Rule::kElementSlots != 0 && row < kNumRows; ++row)
      std::fill_n(element.blocks.row(row), element.blocks.width, T(1));
    meta[4].table = 3;  // of no rule
    const std::vector<int32_t> rows{9, -1, 2, 4};
    std::vector<T> grads(4 * dim);
    for (T& value : grads) value = static_cast<T>(random() % 100 + 1) / T(50);
    const UpdateRows<W> in{weights.blocks, element.blocks, per_row.blocks, meta.data(), rows.data(), grads.data(), 5};
    expect(update_rows(in, std::vector<Rule>{Rule(hyper)}, 0, 4) == 3, "a row of no table is reported");
    for (int64_t row = 0; row < kNumRows; ++row) {
      const bool moved = row == 9 || row == 2;
      for (int64_t k = 0; k < dim; ++k) expect((widen(weights.blocks.row(row)[k]) != T(0.5)) == moved, "rows with a gradient move");
      expect(meta[row].last_changed == (moved ? 5 : 0), "and are stamped");
    }
  }
}

template <template <typename> class... Rules>
void rules_move_their_rows_alone(std::mt19937_64& random, RuleList<Rules...>) {
  (a_rule_moves_its_rows_alone<float, Rules<float>>(random), ...);
  (a_rule_moves_its_rows_alone<double, Rules<double>>(random), ...);
  (a_rule_moves_its_rows_alone<BFloat16, Rules<float>>(random), ...);
  (a_rule_moves_its_rows_alone<Float16, Rules<float>>(random), ...);
}

void subnormal_numbers_count() {
#if defined(__SSE__)
  const volatile float small = 1e-40f;
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | 0x8040);
  expect(small * 1.0f == 0.0f, "the thread flushes");
  {
    const SubnormalsCount outer;
    expect(small * 1.0f != 0.0f, "not inside");
    const SubnormalsCount inner;
    expect(small * 1.0f != 0.0f, "nor further inside");
  }
  expect(small * 1.0f == 0.0f, "it flushes again afterwards");
  _mm_setcsr(before);
#endif
}

}  // namespace

int main() {
  std::mt19937_64 random(1);
  subnormal_numbers_count();
  philox_gives_its_published_words();
  normal_values_invert_the_distribution(random);
  for (const int64_t initializer : {kConstant, kUniform, kNormal, kTruncatedNormal}) {
    first_values_are_of_seed_id_and_column<float>(initializer);
    first_values_are_of_seed_id_and_column<double>(initializer);
    first_values_are_of_seed_id_and_column<BFloat16>(initializer);
    first_values_are_of_seed_id_and_column<Float16>(initializer);
    new_rows_are_whole<float>(initializer);
    new_rows_are_whole<double>(initializer);
    new_rows_are_whole<BFloat16>(initializer);
    new_rows_are_whole<Float16>(initializer);
  }
  new_rows_are_of_their_tables(random);
  touched_rows_are_counted(random);
  touched_rows_are_stamped();
  rules_move_their_rows_alone(random, AllRules{});
  std::puts("rows_test: ok");
}
