// Hashes of many strings. Where 64-bit products are one instruction for eight numbers, runs of short strings are hashed side by side: first
// their words are read, one string after the other, then a loop without a branch mixes them.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/farm_hash.h"
#include "core/murmur_hash.h"
#include "core/xx_hash.h"

namespace sparrow {

// A hash of strings: of any; and of those of kLeast to 16 bytes by the 8 bytes from the first on and the 8 bytes up to the last, of which
// those outside of a shorter string do not matter.
struct FarmHash {
  static constexpr uint64_t kLeast = 4;
  static uint64_t of(const uint8_t* bytes, uint64_t length) { return farm::fingerprint(bytes, length); }
  static uint64_t of_short(uint64_t first, uint64_t last, uint64_t length) { return farm::hash_4_to_16(first, last, length); }
};

// The bytes of a string of up to 16 beyond its last whole word, as a number.
inline uint64_t tail_of(uint64_t first, uint64_t last, uint64_t length) {
  const uint64_t word = length < 8 ? first << (63 - 8 * (length & 7)) << 1 : last;
  return word >> 1 >> (63 - 8 * (length & 7));  // at least one bit at a time: a shift by 64 is none
}

struct MurmurHash {
  static constexpr uint64_t kLeast = 0;
  static uint64_t of(const uint8_t* bytes, uint64_t length) { return murmur::hash(bytes, length); }
  static uint64_t of_short(uint64_t first, uint64_t last, uint64_t length) {
    uint64_t state = murmur::begin(length);
    const uint64_t one = murmur::absorb(state, first);
    state = length >= 8 ? one : state;
    const uint64_t two = murmur::absorb(state, last);
    state = length == 16 ? two : state;
    const uint64_t three = (state ^ tail_of(first, last, length)) * murmur::kMultiplier;
    return murmur::finish((length & 7) != 0 ? three : state);
  }
};

struct XxHash {
  static constexpr uint64_t kLeast = 0;
  static uint64_t of(const uint8_t* bytes, uint64_t length) { return xx::hash(bytes, length); }
  static uint64_t of_short(uint64_t first, uint64_t last, uint64_t length) {
    uint64_t state = xx::kPrime5 + length;
    const uint64_t one = xx::absorb_word(state, first);
    state = length >= 8 ? one : state;
    const uint64_t two = xx::absorb_word(state, last);
    state = length == 16 ? two : state;
    uint64_t tail = tail_of(first, last, length);
    const uint64_t half = std::rotl(state ^ (tail & 0xffffffff) * xx::kPrime1, 23) * xx::kPrime2 + xx::kPrime3;
    state = (length & 4) != 0 ? half : state;
    tail = (length & 4) != 0 ? tail >> 32 : tail;
    for (uint64_t k = 0; k < 3; ++k) {
      const uint64_t more = std::rotl(state ^ (tail >> (8 * k) & 0xff) * xx::kPrime5, 11) * xx::kPrime1;
      state = k < (length & 3) ? more : state;
    }
    return xx::finish(state);
  }
};

constexpr int64_t kRun = 64;

// Hashes a run of strings side by side, and those of other lengths once more. 8 bytes before and behind the run must be readable.
template <typename Hash>
void hash_run(const uint8_t* bytes, const int64_t* offsets, int64_t count, int64_t* hash) {
  uint64_t first[kRun], last[kRun];
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(first + i, bytes + offsets[i], 8);
    std::memcpy(last + i, bytes + offsets[i + 1] - 8, 8);
  }
  const auto is_other = [](uint64_t length) { return length - Hash::kLeast > 16 - Hash::kLeast; };
  int64_t num_others = 0;
  for (int64_t i = 0; i < count; ++i) {
    const auto length = static_cast<uint64_t>(offsets[i + 1] - offsets[i]);
    hash[i] = static_cast<int64_t>(Hash::of_short(first[i], last[i], length));
    num_others += is_other(length);
  }
  for (int64_t i = 0; num_others > 0; ++i) {
    const auto length = static_cast<uint64_t>(offsets[i + 1] - offsets[i]);
    if (!is_other(length)) continue;
    hash[i] = static_cast<int64_t>(Hash::of(bytes + offsets[i], length));
    --num_others;
  }
}

// hash[i] = the hash of bytes[offsets[i], offsets[i + 1]) out of num_bytes.
template <typename Hash>
void hash_strings(const uint8_t* bytes, int64_t num_bytes, const int64_t* offsets, int64_t count, int64_t* hash) {
  for (int64_t at = 0; at < count; at += kRun) {
    const int64_t size = count - at < kRun ? count - at : kRun;
    const int64_t* const run = offsets + at;
#if defined(__AVX512DQ__)
    // Where the mean length fits the class, most strings do.
    if (run[0] >= 8 && run[size] + 8 <= num_bytes && run[size] - run[0] <= 16 * size) {
      hash_run<Hash>(bytes, run, size, hash + at);
      continue;
    }
#else
    (void)num_bytes;
#endif
    for (int64_t i = 0; i < size; ++i)
      hash[at + i] = static_cast<int64_t>(Hash::of(bytes + run[i], static_cast<uint64_t>(run[i + 1] - run[i])));
  }
}

}  // namespace sparrow
