// Updates of more rows than are prefetched, for every rule: rows of a known width move as rows of any width do, bit
// for bit and in any division among threads; and the lanes of a row add up in their written order. Under AddressSanitizer and UBSan.
#include "core/update_rows.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <random>
#include <vector>

#include "core/rules/all.h"
#include "core/rules/lanes.h"

namespace {

using namespace sparrow;

constexpr int64_t kRowsPerBlock = 64, kNumBlocks = 3, kNumRows = kRowsPerBlock * kNumBlocks;

void expect(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "FAILED: %s\n", what);
  std::exit(1);
}

// Blocks on the heap, each by itself, so that a step beyond one is seen.
template <typename T>
struct Storage {
  std::vector<std::vector<T>> memory;
  Blocks<T> blocks;

  Storage(int64_t width, const auto& value) : memory(width == 0 ? 0 : kNumBlocks, std::vector<T>(kRowsPerBlock * width)) {
    blocks.shift = 6, blocks.width = width;
    for (std::vector<T>& block : memory)
      for (T& one : block) one = value();
    point();
  }
  Storage(const Storage& other) : memory(other.memory), blocks(other.blocks) { point(); }

 private:
  void point() {
    blocks.data.clear();
    for (std::vector<T>& block : memory) blocks.data.push_back(block.data());
  }
};

template <typename W, typename Rule>
struct State {
  using T = Compute<W>;
  Storage<W> weights;
  Storage<T> element, per_row;
  std::vector<RowMeta> meta;

  State(int64_t dim, const auto& weight, const auto& slot)
      : weights(dim, weight), element(Rule::kElementSlots * dim, slot), per_row(Rule::kRowSlots, slot), meta(kNumRows) {
    for (int32_t row = 0; row < kNumRows; ++row) meta[row] = {0, 0, 0, row % 2};
  }

  UpdateRows<W> update(const std::vector<int32_t>& rows, const std::vector<T>& grads) {
    return {weights.blocks, element.blocks, per_row.blocks, meta.data(), rows.data(), grads.data(), 5};
  }

  bool equals(const State& other) const {
    const auto same = [](const auto& one, const auto& two) {
      for (size_t block = 0; block < one.memory.size(); ++block)
        for (size_t i = 0; i < one.memory[block].size(); ++i)
          if (widen(one.memory[block][i]) != widen(two.memory[block][i])) return false;
      return true;
    };
    for (int64_t row = 0; row < kNumRows; ++row)
      if (meta[row].last_changed != other.meta[row].last_changed) return false;
    return same(weights, other.weights) && same(element, other.element) && same(per_row, other.per_row);
  }
};

template <typename W, typename Rule>
void known_widths_move_as_any(std::mt19937_64& random, int64_t dim) {
  using T = Compute<W>;
  std::vector<int32_t> rows(kNumRows);
  std::iota(rows.begin(), rows.end(), 0);
  std::shuffle(rows.begin(), rows.end(), random);
  rows.resize(kNumRows - 20);
  for (size_t i = 3; i < rows.size(); i += 50) rows[i] = -1;
  std::normal_distribution<double> normal;
  std::vector<T> grads(rows.size() * dim);
  for (T& value : grads) value = static_cast<T>(normal(random));
  double hyper[kHyperWords] = {0.1, 0.5, 0.9, 0.9, 0.5, 1};
  hyper[kCorrection1] = 0.19, hyper[kCorrection2] = 0.0199, hyper[kGlobalStep] = 7, hyper[kTableStep] = 2;
  std::vector<Rule> rules{Rule(hyper)};
  hyper[0] = 0.01, rules.emplace_back(hyper);

  State<W, Rule> known(dim, [&] { return narrow<W>(static_cast<T>(normal(random))); }, [&] { return static_cast<T>(random() % 8 + 1); });
  State<W, Rule> any = known, parts = known;

  const auto end = static_cast<int64_t>(rows.size());
  expect(update_rows(known.update(rows, grads), rules, 0, end) == -1, "every row has a table");
  expect(update_rows_of<0>(any.update(rows, grads), rules, 0, end) == -1, "every row has a table");
  for (int64_t first = 0; first < end; first += 37) update_rows(parts.update(rows, grads), rules, first, std::min(first + 37, end));
  expect(known.equals(any), "rows of a known width move as those of any width");
  expect(known.equals(parts), "rows move alike however they are divided");
}

// rows_test.cpp runs the other rules for every type of weights.
template <template <typename> class... Rules>
void known_widths_move_as_any(std::mt19937_64& random, RuleList<Rules...>) {
  for (const int64_t dim : {3, 8, 16, 32, 64, 65}) {
    (known_widths_move_as_any<float, Rules<float>>(random, dim), ...);
    known_widths_move_as_any<double, Adam<double>>(random, dim);
    known_widths_move_as_any<BFloat16, Adam<float>>(random, dim);
    known_widths_move_as_any<Float16, RowwiseAdagrad<float>>(random, dim);
  }
}

template <typename T>
void lanes_add_in_halves(std::mt19937_64& random) {
  std::normal_distribution<double> normal;
  for (int64_t dim = 0; dim < 70; ++dim) {
    std::vector<T> values(dim);
    T lane[16] = {};
    for (T& value : values) value = static_cast<T>(normal(random));
    for (int64_t k = 0; k < dim; ++k) lane[k % 16] += values[k];
    for (int half = 8; half > 0; half /= 2)
      for (int k = 0; k < half; ++k) lane[k] += lane[k + half];
    expect(sum_in_lanes<T>(dim, [&](int64_t k) { return values[k]; }) == lane[0], "the sum of a row");
  }
}

}  // namespace

int main() {
  std::mt19937_64 random(1);
  lanes_add_in_halves<float>(random);
  lanes_add_in_halves<double>(random);
  known_widths_move_as_any(random, AllRules{});
  std::puts("update_rows_test: ok");
}
