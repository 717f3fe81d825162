// FarmHash fingerprints of many strings. Where 64-bit products are one instruction for eight numbers, runs of strings of 4 to 16 bytes are
// hashed side by side: first their words are read, one string after the other, then a loop without a branch mixes them.
#pragma once

#include <cstdint>

#include "core/farm_hash.h"

namespace sparrow::farm {

// The fingerprint of a string of 4 to 16 bytes by the 8 bytes from its begin on and the 8 bytes before its end, of which the upper and
// lower half may lie outside of a string of less than 8.
inline uint64_t hash_4_to_16(uint64_t first, uint64_t last, uint64_t length) {
  const uint64_t multiplier = kPrime2 + length * 2, a = first + kPrime2;
  const uint64_t low = rotate(last, 37) * multiplier + a, high = (rotate(a, 25) + last) * multiplier;
  const uint64_t low_of_few = length + ((first & 0xffffffff) << 3), high_of_few = last >> 32;
  return combine(length < 8 ? low_of_few : low, length < 8 ? high_of_few : high, multiplier);
}

constexpr int64_t kRun = 64;

// Hashes a run of strings side by side, and those of other lengths once more. 8 bytes before and behind the run must be readable.
inline void fingerprint_run(const uint8_t* bytes, const int64_t* offsets, int64_t count, int64_t* hash) {
  uint64_t first[kRun], last[kRun];
  for (int64_t i = 0; i < count; ++i) {
    first[i] = load64(bytes + offsets[i]);
    last[i] = load64(bytes + offsets[i + 1] - 8);
  }
  int64_t num_others = 0;
  for (int64_t i = 0; i < count; ++i) {
    const auto length = static_cast<uint64_t>(offsets[i + 1] - offsets[i]);
    hash[i] = static_cast<int64_t>(hash_4_to_16(first[i], last[i], length));
    num_others += length - 4 > 12;
  }
  for (int64_t i = 0; num_others > 0; ++i) {
    const auto length = static_cast<uint64_t>(offsets[i + 1] - offsets[i]);
    if (length - 4 <= 12) continue;
    hash[i] = static_cast<int64_t>(fingerprint(bytes + offsets[i], length));
    --num_others;
  }
}

// hash[i] = the fingerprint of bytes[offsets[i], offsets[i + 1]) out of num_bytes.
inline void fingerprints(const uint8_t* bytes, int64_t num_bytes, const int64_t* offsets, int64_t count, int64_t* hash) {
  for (int64_t at = 0; at < count; at += kRun) {
    const int64_t size = count - at < kRun ? count - at : kRun;
    const int64_t* const run = offsets + at;
#if defined(__AVX512DQ__)
    const int64_t begin = run[0], end = run[size];
    if (begin >= 8 && end + 8 <= num_bytes && end - begin <= 16 * size) {
      fingerprint_run(bytes, run, size, hash + at);
      continue;
    }
#else
    (void)num_bytes;
#endif
    for (int64_t i = 0; i < size; ++i)
      hash[at + i] = static_cast<int64_t>(fingerprint(bytes + run[i], static_cast<uint64_t>(run[i + 1] - run[i])));
  }
}

}  // namespace sparrow::farm
