// Hashes, remainders and buckets against published values and plain loops, under AddressSanitizer and UBSan.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "core/bucketize.h"
#include "core/farm_hash.h"
#include "core/short_strings.h"
#include "core/unsigned_mod.h"

namespace {

using namespace sparrow;

void expect(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "FAILED: %s\n", what);
  std::exit(1);
}

// The vectors of tests/ops/test_hashes.py, which TensorFlow's fingerprint gave for bytes (7 i + 3) % 256: every branch and its edges.
void hashes_are_those_published() {
  const std::pair<int64_t, int64_t> published[] = {{0, -7286425919675154353},   {1, -4701585644151464565},  {4, -880473496457938030},
                                                   {8, 907454142650066470},     {9, -1937406006033793025},  {16, 9140634717936656744},
                                                   {17, -3940209979914493657},  {32, -6539366919091055384}, {33, -4445161147390955287},
                                                   {64, 389040666157116578},    {65, 8638051931306504420},  {128, 7379187116787024497},
                                                   {129, -7484864359672536957}, {200, 7886090686657605591}};
  for (const auto& [length, expected] : published) {
    auto bytes = std::make_unique<uint8_t[]>(length);
    for (int64_t i = 0; i < length; ++i) bytes[i] = static_cast<uint8_t>((7 * i + 3) % 256);
    expect(static_cast<int64_t>(farm::fingerprint(bytes.get(), length)) == expected, "a published hash");
  }
}

void hashes_read_their_bytes_alone() {
  // Exact copies on the heap: a byte read too far is seen. Equal bytes hash alike wherever they lie; one bit changes the hash.
  std::set<uint64_t> seen;
  std::mt19937_64 random(1);
  for (int64_t length = 0; length <= 300; ++length) {
    auto bytes = std::make_unique<uint8_t[]>(length);
    for (int64_t i = 0; i < length; ++i) bytes[i] = static_cast<uint8_t>(random());
    const uint64_t hash = farm::fingerprint(bytes.get(), length);
    auto moved = std::make_unique<uint8_t[]>(length + 1);
    std::copy(bytes.get(), bytes.get() + length, moved.get() + 1);
    expect(farm::fingerprint(moved.get() + 1, length) == hash, "a hash is of the bytes, not of where they lie");
    expect(seen.insert(hash).second, "random strings of different lengths do not collide");
    if (length > 0) {
      bytes[random() % length] ^= static_cast<uint8_t>(1u << (random() % 8));
      expect(farm::fingerprint(bytes.get(), length) != hash, "one bit changes the hash");
    }
  }
  expect(farm::fingerprint(nullptr, 0) == 0x9ae16a3b2f90404fULL, "the empty string");
}

// A run in the middle of its bytes, 8 before it and 8 behind, of lengths of the run's class and of others.
template <typename Hash>
void runs_of_strings_hash_alike() {
  std::mt19937_64 random(3);
  for (const uint64_t longest : {3, 7, 16, 17, 80}) {
    for (const int64_t count : {1, 7, 64}) {
      std::vector<int64_t> offsets{8};
      for (int64_t i = 0; i < count; ++i) offsets.push_back(offsets.back() + static_cast<int64_t>(random() % (longest + 1)));
      const auto bytes = std::make_unique<uint8_t[]>(offsets.back() + 8);
      for (int64_t i = 0; i < offsets.back() + 8; ++i) bytes[i] = static_cast<uint8_t>(random());
      auto hash = std::make_unique<int64_t[]>(count);
      hash_run<Hash>(bytes.get(), offsets.data(), count, hash.get());
      auto again = std::make_unique<int64_t[]>(count);
      hash_strings<Hash>(bytes.get(), offsets.back() + 8, offsets.data(), count, again.get());
      for (int64_t i = 0; i < count; ++i) {
        const auto expected = static_cast<int64_t>(Hash::of(bytes.get() + offsets[i], offsets[i + 1] - offsets[i]));
        expect(hash[i] == expected && again[i] == expected, "a string of a run");
      }
    }
  }
}

void remainders_are_those_of_division() {
  std::mt19937_64 random(2);
  std::vector<uint64_t> ends{0, 1, 2, 3, 7, 8, 9, INT64_MAX, ~uint64_t{0}, ~uint64_t{0} - 1};
  for (const int shift : {31, 32, 33, 62, 63})
    for (const int64_t beside : {-1, 0, 1}) ends.push_back((uint64_t{1} << shift) + static_cast<uint64_t>(beside));
  for (size_t i = 1; i < 2000; ++i) {
    const uint64_t divisor = i < ends.size() ? ends[i] : std::max<uint64_t>(1, random() >> (random() % 64));
    const UnsignedMod mod(divisor);
    for (const uint64_t number : ends) expect(mod(number) == number % divisor, "the remainder of an end of the range");
    for (const uint64_t beside : {divisor - 1, divisor, divisor + 1})
      expect(mod(beside) == beside % divisor, "the remainder beside the divisor");
    for (int k = 0; k < 20; ++k) {
      const uint64_t number = random() >> (random() % 64);
      expect(mod(number) == number % divisor, "the remainder");
      expect(mod.quotient(number) == number / divisor, "the quotient");
      expect(mod.vector_remainder(number) == number % divisor, "the remainder in a loop");
      expect(mod.vector_quotient(number) == number / divisor, "the quotient in a loop");
    }
  }
}

// A table of boundaries as lookup_tables.py packs it, with cells of equal width or of equal runs of bits.
std::vector<int64_t> bucket_table(const std::vector<double>& boundaries, bool is_linear, int64_t num_cells) {
  const auto count = static_cast<int64_t>(boundaries.size());
  std::vector<int64_t> keys, cells;
  for (const double boundary : boundaries) keys.push_back(order_key(boundary));
  int64_t parameter[2] = {count > 0 ? keys[0] : 0, 0};
  if (is_linear) {
    const double low = boundaries.front(), scale = static_cast<double>(num_cells - 1) / (boundaries.back() - low);
    parameter[0] = std::bit_cast<int64_t>(low);
    parameter[1] = std::bit_cast<int64_t>(scale);
    for (const double boundary : boundaries) cells.push_back(static_cast<int64_t>((boundary - low) * scale));
  } else {
    const uint64_t span = count > 0 ? static_cast<uint64_t>(keys.back()) - static_cast<uint64_t>(keys[0]) : 0;
    while ((span >> parameter[1]) >= static_cast<uint64_t>(num_cells)) ++parameter[1];
    for (const int64_t key : keys)
      cells.push_back(static_cast<int64_t>((static_cast<uint64_t>(key) - static_cast<uint64_t>(keys[0])) >> parameter[1]));
  }
  int64_t most = 0;
  for (const int64_t cell : cells) most = std::max<int64_t>(most, std::count(cells.begin(), cells.end(), cell));
  std::vector<int64_t> table{count, num_cells, most, is_linear ? 0 : 1, parameter[0], parameter[1]};
  for (int64_t cell = 0; cell < num_cells; ++cell) table.push_back(std::lower_bound(cells.begin(), cells.end(), cell) - cells.begin());
  table.insert(table.end(), keys.begin(), keys.end());
  table.insert(table.end(), most, INT64_MAX);
  return table;
}

void buckets_are_counts(const std::vector<double>& boundaries, bool is_linear, const std::vector<double>& values) {
  const std::vector<int64_t> words = bucket_table(boundaries, is_linear, 16);
  expect(Buckets::fits(words.data(), static_cast<int64_t>(words.size())), "a table of buckets");
  expect(!Buckets::fits(words.data(), static_cast<int64_t>(words.size()) - 1), "no table of buckets");
  const auto table = std::make_unique<int64_t[]>(words.size());  // exact: a word read too far is seen
  std::copy(words.begin(), words.end(), table.get());
  const Buckets buckets(table.get());
  for (size_t count = 0; count <= values.size(); ++count) {
    auto reached = std::make_unique<int64_t[]>(count);
    buckets.count_reached(values.data(), static_cast<int64_t>(count), reached.get());
    for (size_t i = 0; i < count; ++i) {
      int64_t expected = 0;
      for (const double boundary : boundaries) expected += !(boundary > values[i]);
      expect(reached[i] == expected, "a bucket is the number of boundaries reached");
    }
  }
}

}  // namespace

int main() {
  hashes_are_those_published();
  hashes_read_their_bytes_alone();
  runs_of_strings_hash_alike<FarmHash>();
  runs_of_strings_hash_alike<MurmurHash>();
  runs_of_strings_hash_alike<XxHash>();
  remainders_are_those_of_division();
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const std::vector<double> values{0.0, -0.0, NAN, kInfinity, -kInfinity, 0.25, -1.5, 1e300, -1e300,
                                   5,   -1,   3,   0x1p53,    -0x1p63,    0.75, -750, 749};
  buckets_are_counts({}, false, values);
  buckets_are_counts({0.0}, false, values);
  buckets_are_counts({-kInfinity, -0x1p63, -1.0, 0x1p53, 0x1p53 + 2, 0x1p62, 0x1p63, kInfinity}, false, values);
  for (const int count : {2, 7, 9, 1000}) {  // around the values
    std::vector<double> boundaries;
    for (int i = 0; i < count; ++i) boundaries.push_back((i - count / 2) * 0.75);
    for (const bool is_linear : {false, true}) buckets_are_counts(boundaries, is_linear, values);
  }
  std::puts("transforms_test: ok");
}
