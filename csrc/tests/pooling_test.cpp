// dedup_ids, gather_pool and pool_backward against plain loops, under AddressSanitizer and UBSan.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "core/dedup_ids.h"
#include "core/pool_backward.h"

namespace {

using namespace sparrow;

void expect(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "FAILED: %s\n", what);
  std::exit(1);
}

// Against a map a table, filled in order.
void check_distinct(const std::vector<int64_t>& ids, const std::vector<int64_t>& offsets, const std::vector<int64_t>& unique_ids,
                    const std::vector<int64_t>& unique_offsets, const std::vector<int32_t>& inverse, const std::vector<int32_t>& counts) {
  int64_t num_unique = 0;
  for (size_t table = 0; table + 1 < offsets.size(); ++table) {
    expect(unique_offsets[table] == num_unique, "where a table's distinct ids begin");
    std::map<int64_t, std::pair<int64_t, int32_t>> seen;  // id -> its index, occurrences
    for (int64_t i = offsets[table]; i < offsets[table + 1]; ++i) {
      const auto [found, fresh] = seen.try_emplace(ids[i], num_unique, 0);
      if (fresh) expect(unique_ids[num_unique++] == ids[i], "distinct ids in order of first appearance");
      expect(inverse[i] == found->second.first, "an occurrence points at its id");
      ++found->second.second;
    }
    for (const auto& [id, own] : seen) expect(counts[own.first] == own.second, "occurrences");
  }
  expect(unique_offsets.back() == num_unique, "number of distinct ids");
  for (size_t i = num_unique; i < ids.size(); ++i) expect(unique_ids[i] == 0 && counts[i] == 0, "zeros after the last");
}

// Few values, or ids that differ in their high bits only; small tables, ones that grow while they are filled, and ones shared by parts.
void test_distinct_ids(std::mt19937_64& random) {
  for (const int64_t num_parts : {1, 2, 3})
    for (const int64_t num_values : {200, 30000})
      for (const std::vector<int64_t>& sizes : {std::vector<int64_t>{0}, {1}, {63, 0, 64, 65}, {1000, 3, 70000}, {40000, 40000}}) {
        std::vector<int64_t> offsets{0};
        for (const int64_t size : sizes) offsets.push_back(offsets.back() + size);
        const auto num_tables = static_cast<int64_t>(sizes.size()), num_ids = offsets.back();
        std::vector<int64_t> ids(num_ids), unique_ids(num_ids, -7), unique_offsets(num_tables + 1);
        std::vector<int32_t> inverse(num_ids), counts(num_ids, -7);
        for (int64_t& id : ids) id = static_cast<int64_t>(((random() % num_values) << (num_values == 200 ? 56 : 0)) - 5);
        IdColumns columns;  // cut anywhere, some of them empty
        for (int64_t begin = 0, end; begin < num_ids; begin = end) {
          end = std::min<int64_t>(num_ids, begin + static_cast<int64_t>(random() % (num_ids / 2 + 2)));
          columns.add(ids.data() + begin, end - begin);
        }
        Dedup dedup(columns, offsets.data(), num_tables, num_parts, inverse.data());
        for (int64_t part = num_parts - 1; part >= 0; --part) dedup.find(part);
        for (int64_t piece = 0; dedup.any_shared() && piece < dedup.num_pieces(); ++piece) dedup.count(piece);
        dedup.sum(unique_offsets.data());
        for (int64_t piece = 0; dedup.any_shared() && piece < dedup.num_pieces(); ++piece)
          dedup.number(piece, unique_ids.data(), counts.data());
        for (int64_t piece = 0; piece < dedup.num_pieces(); ++piece)
          dedup.write(piece, unique_offsets.data(), unique_ids.data(), counts.data());
        check_distinct(ids, offsets, unique_ids, unique_offsets, inverse, counts);
      }
}

// Segments of 0 to 3 ids; small integers, so that sums are exact in any order.
struct Example {
  static constexpr int64_t kRows = 8;
  std::vector<double> weights;
  std::vector<double> default_row;
  std::vector<int32_t> rows;
  std::vector<int32_t> inverse;
  std::vector<int64_t> offsets = {0};
  std::vector<int64_t> combiners;
  PoolInput<double> in{};

  Example(std::mt19937_64& random, int64_t num_features, int64_t num_samples, int64_t dim)
      : weights(kRows * dim), default_row(dim, 7), combiners(num_features, kSum) {
    for (double& weight : weights) weight = static_cast<double>(random() % 16);
    for (int32_t row = -1; row < kRows; ++row) rows.push_back(row);
    for (int64_t segment = 0; segment < num_features * num_samples; ++segment) {
      for (uint64_t left = random() % 4; left > 0; --left) inverse.push_back(static_cast<int32_t>(random() % rows.size()));
      offsets.push_back(static_cast<int64_t>(inverse.size()));
    }
    in.weights.data = {weights.data()};
    in.weights.shift = 3;
    in.weights.width = dim;
    in.default_row = default_row.data();
    in.rows = rows.data();
    in.inverse = inverse.data();
    in.offsets = offsets.data();
    in.combiners = combiners.data();
    in.num_positions = static_cast<int64_t>(inverse.size());
    in.num_features = num_features;
    in.num_samples = num_samples;
    in.dim = dim;
  }
};

void test_both_directions(std::mt19937_64& random, int64_t num_features, int64_t num_samples, int64_t dim) {
  Example example(random, num_features, num_samples, dim);
  const PoolInput<double>& in = example.in;
  const int64_t num_unique = static_cast<int64_t>(example.rows.size());
  const size_t num_values = static_cast<size_t>(num_samples * num_features * dim);
  // Only whole cache lines are written past the caches.
  const std::unique_ptr<double[], void (*)(double*)> out(static_cast<double*>(std::aligned_alloc(64, (num_values + 8) / 8 * 64)),
                                                         [](double* memory) { std::free(memory); });
  std::vector<double> expected(num_values, 0), grad(num_values);
  std::vector<double> summed(num_unique * dim, -1), expected_sums(num_unique * dim, 0);
  for (double& value : grad) value = static_cast<double>(random() % 16);
  for (int64_t segment = 0; segment < num_features * num_samples; ++segment)
    for (int64_t position = in.offsets[segment]; position < in.offsets[segment + 1]; ++position)
      for (int64_t column = 0; column < dim; ++column) {
        const int64_t at = (segment % num_samples * num_features + segment / num_samples) * dim + column;
        const int32_t row = in.rows[in.inverse[position]];
        expected[at] += row < 0 ? 7 : example.weights[row * dim + column];
        if (row >= 0) expected_sums[in.inverse[position] * dim + column] += grad[at];
      }
  pool_tasks<double, false>(in, 0, num_pool_tasks(in), out.get());
  expect(std::equal(expected.begin(), expected.end(), out.get()), "pooled rows");
  const int64_t num_parts = static_cast<int64_t>(random() % 4) + 1;
  OccurrenceSort<double> sort(in, num_unique, num_parts);
  for (int64_t part = num_parts - 1; part >= 0; --part) sort.count(part);
  for (int64_t piece = 0; piece < num_parts; ++piece) sort.total(piece);
  sort.sum();
  for (int64_t piece = 0; piece < num_parts; ++piece) sort.begin(piece);
  for (int64_t part = num_parts - 1; part >= 0; --part) sort.place(part);
  const Occurrences<double>& occurrences = sort.sorted();
  constexpr int64_t kPieces = 5;
  int64_t begin = 0;
  for (int64_t piece = 0; piece < kPieces; ++piece) {
    const int64_t end = piece_end(occurrences, num_unique, piece, kPieces);
    expect(begin <= end, "pieces follow each other");
    sum_occurrences<double, false>(occurrences, grad.data(), in.rows, dim, begin, end, summed.data());
    begin = end;
  }
  expect(begin == num_unique, "the pieces cover every distinct row");
  expect(summed == expected_sums, "summed gradients");
}

}  // namespace

int main() {
  std::mt19937_64 random(1);
  test_distinct_ids(random);
  for (const int64_t num_samples : {0, 1, 63, 1000})
    for (const int64_t dim : {1, 3, 16}) test_both_directions(random, 2, num_samples, dim);
  test_both_directions(random, 3, 45000, 8);  // an output written past the caches
  std::puts("pooling_test: ok");
}
