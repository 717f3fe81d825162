// Philox, first values, new rows, stamps and update rules against plain arithmetic, under AddressSanitizer and UBSan.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <vector>

#include "core/init_rows.h"
#include "core/rules/all.h"
#include "core/touch_rows.h"
#include "core/update_rows.h"

namespace {

using namespace sparrow;

constexpr int64_t kRowsPerBlock = 4, kNumBlocks = 3, kNumRows = kRowsPerBlock * kNumBlocks;

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

void touched_rows_are_stamped() {
  std::vector<RowMeta> meta(kNumRows, {1, 2, INT32_MAX - 2, 3});
  const std::vector<int32_t> rows{4, -1, 0}, counts{3, 9, 1};
  touch_rows(meta.data(), rows.data(), counts.data(), 77, 0, 3);
  expect(meta[4].last_used == 77 && meta[4].last_changed == 2 && meta[4].count == INT32_MAX, "counts saturate");
  expect(meta[0].count == INT32_MAX - 1 && meta[1].last_used == 1, "others stay");
}

// The arithmetic of rules is tested against torch and plain formulae in tests/; here every rule runs under the sanitizers, on exact memory.
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

}  // namespace

int main() {
  std::mt19937_64 random(1);
  philox_gives_its_published_words();
  normal_values_invert_the_distribution(random);
  for (const int64_t initializer : {kConstant, kUniform, kNormal, kTruncatedNormal}) {
    new_rows_are_whole<float>(initializer);
    new_rows_are_whole<double>(initializer);
    new_rows_are_whole<BFloat16>(initializer);
    new_rows_are_whole<Float16>(initializer);
  }
  touched_rows_are_stamped();
  rules_move_their_rows_alone(random, AllRules{});
  std::puts("rows_test: ok");
}
