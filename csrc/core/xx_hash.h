// XXH64 (Collet, 2012) with seed 0: a hash of bytes whose values never change. Written from the published algorithm; its vectors are in
// tests/ops/test_hashes.py.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace sparrow::xx {

constexpr uint64_t kPrime1 = 0x9e3779b185ebca87ULL, kPrime2 = 0xc2b2ae3d27d4eb4fULL, kPrime3 = 0x165667b19e3779f9ULL,
                   kPrime4 = 0x85ebca77c2b2ae63ULL, kPrime5 = 0x27d4eb2f165667c5ULL;

template <typename Word>
inline uint64_t load(const uint8_t* bytes) {
  Word word;
  std::memcpy(&word, bytes, sizeof word);  // unaligned, little endian
  return word;
}

inline uint64_t absorb(uint64_t lane, uint64_t word) { return std::rotl(lane + word * kPrime2, 31) * kPrime1; }

inline uint64_t merge(uint64_t hash, uint64_t lane) { return (hash ^ absorb(0, lane)) * kPrime1 + kPrime4; }

inline uint64_t absorb_word(uint64_t hash, uint64_t word) { return std::rotl(hash ^ absorb(0, word), 27) * kPrime1 + kPrime4; }

inline uint64_t finish(uint64_t hash) {
  hash = (hash ^ (hash >> 33)) * kPrime2;
  hash = (hash ^ (hash >> 29)) * kPrime3;
  return hash ^ (hash >> 32);
}

inline uint64_t hash(const uint8_t* bytes, uint64_t num_bytes) {
  const uint8_t* const end = bytes + num_bytes;
  uint64_t state = kPrime5;
  if (num_bytes >= 32) {
    uint64_t lane[4] = {kPrime1 + kPrime2, kPrime2, 0, 0 - kPrime1};
    for (; end - bytes >= 32; bytes += 32)
      for (int i = 0; i < 4; ++i) lane[i] = absorb(lane[i], load<uint64_t>(bytes + 8 * i));
    state = std::rotl(lane[0], 1) + std::rotl(lane[1], 7) + std::rotl(lane[2], 12) + std::rotl(lane[3], 18);
    for (const uint64_t one : lane) state = merge(state, one);
  }
  state += num_bytes;
  for (; end - bytes >= 8; bytes += 8) state = absorb_word(state, load<uint64_t>(bytes));
  if (end - bytes >= 4) {
    state = std::rotl(state ^ load<uint32_t>(bytes) * kPrime1, 23) * kPrime2 + kPrime3;
    bytes += 4;
  }
  for (; bytes != end; ++bytes) state = std::rotl(state ^ *bytes * kPrime5, 11) * kPrime1;
  return finish(state);
}

// The hash of a word's eight little-endian bytes.
inline uint64_t hash_word(uint64_t word) { return finish(absorb_word(kPrime5 + 8, word)); }

}  // namespace sparrow::xx
