// MurmurHash64A (Appleby, 2008) with seed 0, little endian: a hash of bytes whose values never change, the one RecIS crosses ids with.
// Written from the published algorithm.
#pragma once

#include <cstdint>
#include <cstring>

namespace sparrow::murmur {

constexpr uint64_t kMultiplier = 0xc6a4a7935bd1e995ULL;

inline uint64_t scramble(uint64_t word) {
  word *= kMultiplier;
  word ^= word >> 47;
  return word * kMultiplier;
}

inline uint64_t begin(uint64_t num_bytes) { return num_bytes * kMultiplier; }

inline uint64_t absorb(uint64_t hash, uint64_t word) { return (hash ^ scramble(word)) * kMultiplier; }

inline uint64_t finish(uint64_t hash) {
  hash ^= hash >> 47;
  hash *= kMultiplier;
  return hash ^ (hash >> 47);
}

inline uint64_t hash(const uint8_t* bytes, uint64_t num_bytes) {
  uint64_t state = begin(num_bytes);
  const uint64_t whole = num_bytes / 8 * 8;
  for (uint64_t at = 0; at < whole; at += 8) {
    uint64_t word;
    std::memcpy(&word, bytes + at, sizeof word);
    state = absorb(state, word);
  }
  if (whole < num_bytes) {
    uint64_t word = 0;
    std::memcpy(&word, bytes + whole, num_bytes - whole);
    state = (state ^ word) * kMultiplier;
  }
  return finish(state);
}

// The hash of a word's eight little-endian bytes.
inline uint64_t hash_word(uint64_t word) { return finish(absorb(begin(8), word)); }

}  // namespace sparrow::murmur
