// Updates of more rows than are prefetched, for every rule: rows of a known width move as rows of any width do, bit
// for bit and in any division among threads; and the lanes of a row add up in their written order. Under AddressSanitizer and UBSan.
#include "core/update_rows.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <random>
#include <vector>

#include "core/pool_update_rows.h"
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

// One pass over the gradients of pooled rows does what the sums and then the update do. One id a segment, or up to 400, beyond a chunk;
// with and without weights; in any division among threads.
template <typename W, typename Rule>
void one_pass_is_sum_then_update(std::mt19937_64& random, int64_t dim) {
  using T = Compute<W>;
  constexpr int64_t kNumSamples = 40;
  std::vector<int32_t> rows(kNumRows);
  std::iota(rows.begin(), rows.end(), 0);
  const std::vector<int64_t> table_offsets{0, kNumRows / 2, kNumRows / 2, kNumRows};
  std::vector<RowMeta> meta(kNumRows);
  for (int32_t row = 0; row < kNumRows; ++row) meta[row] = {0, 0, 0, row < kNumRows / 2 ? 0 : 2};
  for (size_t i = 3; i < rows.size(); i += 50) rows[i] = -1;
  for (const int64_t most : {1, 400}) {
    std::vector<int32_t> inverse;
    std::vector<int64_t> offsets{0};
    for (int64_t segment = 0; segment < kNumSamples; ++segment) {
      for (uint64_t left = most == 1 ? 1 : random() % most; left > 0; --left)
        inverse.push_back(static_cast<int32_t>(random() % (most == 1 ? kNumRows : 3)));
      offsets.push_back(static_cast<int64_t>(inverse.size()));
    }
    std::vector<float> position_weights(inverse.size());
    for (float& weight : position_weights) weight = static_cast<float>(random() % 5) - 1;
    std::vector<T> grad(kNumSamples * dim);
    std::normal_distribution<double> normal;
    for (T& value : grad) value = static_cast<T>(normal(random));
    const std::vector<int64_t> combiners{most == 1 ? kSum : kMean};
    PoolInput<T> in{};
    in.inverse = inverse.data(), in.offsets = offsets.data(), in.combiners = combiners.data();
    in.position_weights = most == 1 ? nullptr : position_weights.data();
    in.num_positions = static_cast<int64_t>(inverse.size()), in.num_features = 1, in.num_samples = kNumSamples, in.dim = dim;
    in.one_id_each = most == 1;
    OccurrenceSort<T> sort(in, kNumRows, 1);
    sort.count(0), sort.total(0), sort.sum(), sort.begin(0), sort.place(0);
    std::vector<T> summed(kNumRows * dim);
    if (most == 1) {
      sum_occurrences<T, false>(sort.sorted(), grad.data(), rows.data(), dim, 0, kNumRows, summed.data());
    } else {
      sum_occurrences<T, true>(sort.sorted(), grad.data(), rows.data(), dim, 0, kNumRows, summed.data());
    }
    double hyper[3][kHyperWords] = {};
    std::vector<Rule> rules;
    for (int table = 0; table < 3; ++table) {
      const double own[kHyperWords] = {0.1 * (table + 1), 0.5, 0.9, 0.9, 0.5, 1};
      std::copy(own, own + kHyperWords, hyper[table]);
      hyper[table][kCorrection1] = 0.19, hyper[table][kCorrection2] = 0.0199, hyper[table][kGlobalStep] = 7, hyper[table][kTableStep] = 2;
      rules.emplace_back(hyper[table]);
    }
    const State<W, Rule> before(
        dim, [&] { return narrow<W>(static_cast<T>(normal(random))); }, [&] { return static_cast<T>(std::abs(normal(random))); });
    State<W, Rule> apart = before, together = before;
    apart.meta = together.meta = meta;
    update_rows(apart.update(rows, summed), rules, 0, kNumRows);
    const PoolUpdate<W> one_pass{together.update(rows, summed), table_offsets.data(), grad.data()};
    pool_update_rows(one_pass, sort.sorted(), rules, 77, kNumRows);
    pool_update_rows(one_pass, sort.sorted(), rules, 0, 77);
    expect(apart.equals(together), "one pass gives the bits of two");
    State<W, Rule> unstamped = before;
    PoolUpdate<W> without{unstamped.update(rows, summed), table_offsets.data(), grad.data()};
    without.update.meta = nullptr;
    pool_update_rows(without, sort.sorted(), rules, 0, kNumRows);
    for (RowMeta& stamps : together.meta) stamps.last_changed = 0;
    expect(unstamped.equals(together), "stamps are left alone where they are not given");
  }
}

template <template <typename> class... Rules>
void one_pass_is_sum_then_update(std::mt19937_64& random, RuleList<Rules...>) {
  for (const int64_t dim : {3, 16, 64}) {
    (one_pass_is_sum_then_update<float, Rules<float>>(random, dim), ...);
    one_pass_is_sum_then_update<double, Adam<double>>(random, dim);
    one_pass_is_sum_then_update<BFloat16, Adam<float>>(random, dim);
    one_pass_is_sum_then_update<Float16, RowwiseAdagrad<float>>(random, dim);
  }
}

}  // namespace

int main() {
  std::mt19937_64 random(1);
  lanes_add_in_halves<float>(random);
  lanes_add_in_halves<double>(random);
  known_widths_move_as_any(random, AllRules{});
  one_pass_is_sum_then_update(random, AllRules{});
  std::puts("update_rows_test: ok");
}
