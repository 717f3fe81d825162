// Hashes, remainders and buckets against published values and plain loops, under AddressSanitizer and UBSan.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <random>
#include <set>
#include <vector>

#include "core/bucketize.h"
#include "core/farm_hash.h"
#include "core/unsigned_mod.h"

namespace {

using namespace sparrow;

void expect(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "FAILED: %s\n", what);
  std::exit(1);
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

void remainders_are_those_of_division() {
  std::mt19937_64 random(2);
  const uint64_t ends[] = {0, 1, 2, 3, (uint64_t{1} << 32) - 1, uint64_t{1} << 63, ~uint64_t{0}, ~uint64_t{0} - 1};
  for (int i = 0; i < 2000; ++i) {
    const uint64_t divisor = i < 7 ? ends[i + 1] : std::max<uint64_t>(1, random() >> (random() % 64));
    const UnsignedMod mod(divisor);
    for (const uint64_t number : ends) expect(mod(number) == number % divisor, "the remainder of an end of the range");
    for (int k = 0; k < 20; ++k) {
      const uint64_t number = random() >> (random() % 64);
      expect(mod(number) == number % divisor, "the remainder");
    }
  }
}

template <typename Value>
void buckets_are_counts(const std::vector<double>& boundaries, const std::vector<Value>& values) {
  for (size_t count = 0; count <= values.size(); ++count) {
    auto reached = std::make_unique<int64_t[]>(count);
    if constexpr (std::is_same_v<Value, int64_t>) {
      const auto integers = first_integers(boundaries.data(), static_cast<int64_t>(boundaries.size()));
      count_reached(values.data(), static_cast<int64_t>(count), integers.data(), static_cast<int64_t>(integers.size()), reached.get());
    } else {
      count_reached(values.data(), static_cast<int64_t>(count), boundaries.data(), static_cast<int64_t>(boundaries.size()), reached.get());
    }
    for (size_t i = 0; i < count; ++i) {
      int64_t expected = 0;
      for (const double boundary : boundaries) expected += !(boundary > static_cast<long double>(values[i]));
      expect(reached[i] == expected, "a bucket is the number of boundaries reached");
    }
  }
}

}  // namespace

int main() {
  hashes_read_their_bytes_alone();
  remainders_are_those_of_division();
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const std::vector<std::vector<double>> cases{
      {}, {0.0}, {-1.5, 0.25}, {-kInfinity, -0x1p63, -1.0, 0x1p53, 0x1p53 + 2, 0x1p62, 0x1p63, kInfinity}};
  for (const auto& boundaries : cases) {
    buckets_are_counts<double>(boundaries, {0.0, -0.0, NAN, kInfinity, -kInfinity, 0.25, -1.5, 1e300, 5, -1, 3, 0x1p53, -0x1p63});
    buckets_are_counts<float>(boundaries, {0.0f, NAN, 1e30f, -1.5f, 0.25f, 0.2500001f, -5, 7, 9, 11});
    buckets_are_counts<int64_t>(boundaries,
                                {INT64_MIN, INT64_MAX, 0, -1, -2, (int64_t{1} << 53) + 1, (int64_t{1} << 53), int64_t{1} << 62, 5});
  }
  std::puts("transforms_test: ok");
}
