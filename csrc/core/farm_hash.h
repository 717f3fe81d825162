// FarmHash Fingerprint64 (the "na" Hash64 of Pike and Alakuijala's FarmHash, 2014): a hash of bytes whose values never change, the one
// TensorFlow's string hashing uses. Written from the published algorithm; the published vectors are in tests/ops/test_hashes.py.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

namespace sparrow::farm {

constexpr uint64_t kPrime0 = 0xc3a5c85c97cb3127ULL;
constexpr uint64_t kPrime1 = 0xb492b66fbe98f273ULL;
constexpr uint64_t kPrime2 = 0x9ae16a3b2f90404fULL;

using Pair = std::pair<uint64_t, uint64_t>;

template <typename Word>
inline uint64_t load(const uint8_t* bytes) {
  Word word;
  std::memcpy(&word, bytes, sizeof word);  // unaligned, little endian
  return word;
}
inline uint64_t load64(const uint8_t* bytes) { return load<uint64_t>(bytes); }
inline uint64_t rotate(uint64_t x, int bits) { return (x >> bits) | (x << (64 - bits)); }
inline uint64_t shift_mix(uint64_t x) { return x ^ (x >> 47); }

inline uint64_t combine(uint64_t low, uint64_t high, uint64_t multiplier) {
  const uint64_t a = shift_mix((low ^ high) * multiplier);
  return shift_mix((high ^ a) * multiplier) * multiplier;
}

inline uint64_t hash_up_to_16(const uint8_t* s, uint64_t length) {
  const uint64_t multiplier = kPrime2 + length * 2;
  if (length >= 8) {
    const uint64_t a = load64(s) + kPrime2, b = load64(s + length - 8);
    return combine(rotate(b, 37) * multiplier + a, (rotate(a, 25) + b) * multiplier, multiplier);
  }
  if (length >= 4) return combine(length + (load<uint32_t>(s) << 3), load<uint32_t>(s + length - 4), multiplier);
  if (length == 0) return kPrime2;
  const uint64_t y = s[0] + (uint64_t{s[length >> 1]} << 8), z = length + (uint64_t{s[length - 1]} << 2);
  return shift_mix(y * kPrime2 ^ z * kPrime0) * kPrime2;
}

// The fingerprint of a string of 4 to 16 bytes by the 8 bytes from its begin on and the 8 bytes before its end, of which the upper and
// lower half may lie outside of a string of less than 8.
inline uint64_t hash_4_to_16(uint64_t first, uint64_t last, uint64_t length) {
  const uint64_t multiplier = kPrime2 + length * 2, a = first + kPrime2;
  const uint64_t low = rotate(last, 37) * multiplier + a, high = (rotate(a, 25) + last) * multiplier;
  const uint64_t low_of_few = length + ((first & 0xffffffff) << 3), high_of_few = last >> 32;
  return combine(length < 8 ? low_of_few : low, length < 8 ? high_of_few : high, multiplier);
}

inline uint64_t hash_17_to_32(const uint8_t* s, uint64_t length) {
  const uint64_t multiplier = kPrime2 + length * 2;
  const uint64_t a = load64(s) * kPrime1, b = load64(s + 8), c = load64(s + length - 8) * multiplier, d = load64(s + length - 16) * kPrime2;
  return combine(rotate(a + b, 43) + rotate(c, 30) + d, a + rotate(b + kPrime2, 18) + c, multiplier);
}

inline uint64_t hash_33_to_64(const uint8_t* s, uint64_t length) {
  const uint64_t multiplier = kPrime2 + length * 2;
  const uint64_t a = load64(s) * kPrime2, b = load64(s + 8), c = load64(s + length - 8) * multiplier, d = load64(s + length - 16) * kPrime2;
  const uint64_t y = rotate(a + b, 43) + rotate(c, 30) + d;
  const uint64_t z = combine(y, a + rotate(b + kPrime2, 18) + c, multiplier);
  const uint64_t e = load64(s + 16) * multiplier, f = load64(s + 24);
  const uint64_t g = (y + load64(s + length - 32)) * multiplier, h = (z + load64(s + length - 24)) * multiplier;
  return combine(rotate(e + f, 43) + rotate(g, 30) + h, e + rotate(f + a, 18) + g, multiplier);
}

inline Pair weak_hash_32(const uint8_t* s, uint64_t a, uint64_t b) {
  const uint64_t w = load64(s), x = load64(s + 8), y = load64(s + 16), z = load64(s + 24);
  a += w;
  b = rotate(b + a + z, 21);
  const uint64_t first = a;
  a += x + y;
  b += rotate(a, 44);
  return {a + z, b + first};
}

// State of the loop over 64-byte blocks.
struct LongState {
  uint64_t x, y, z;
  Pair v, w;

  void absorb(const uint8_t* s, uint64_t multiplier, uint64_t scale) {
    x = rotate(x + y + v.first + load64(s + 8), 37) * multiplier;
    y = rotate(y + v.second + load64(s + 48), 42) * multiplier;
    x ^= w.second * scale;
    y += v.first * scale + load64(s + 40);
    z = rotate(z + w.first, 33) * multiplier;
    v = weak_hash_32(s, v.second * multiplier, x + w.first);
    w = weak_hash_32(s + 32, z + w.second, y + load64(s + 16));
    std::swap(z, x);
  }
};

inline uint64_t hash_over_64(const uint8_t* s, uint64_t length) {
  constexpr uint64_t kSeed = 81;
  const uint64_t y = kSeed * kPrime1 + 113;
  LongState state{kSeed * kPrime2 + load64(s), y, shift_mix(y * kPrime2 + 113) * kPrime2, {0, 0}, {0, 0}};
  const uint8_t* end = s + (length - 1) / 64 * 64;
  const uint8_t* last_block = end + ((length - 1) & 63) - 63;
  for (; s != end; s += 64) state.absorb(s, kPrime1, 1);
  const uint64_t multiplier = kPrime1 + ((state.z & 0xff) << 1);
  state.w.first += (length - 1) & 63;
  state.v.first += state.w.first;
  state.w.first += state.v.first;
  state.absorb(last_block, multiplier, 9);
  return combine(combine(state.v.first, state.w.first, multiplier) + shift_mix(state.y) * kPrime0 + state.z,
                 combine(state.v.second, state.w.second, multiplier) + state.x, multiplier);
}

inline uint64_t fingerprint(const uint8_t* bytes, uint64_t length) {
  if (length <= 16) return hash_up_to_16(bytes, length);
  if (length <= 32) return hash_17_to_32(bytes, length);
  if (length <= 64) return hash_33_to_64(bytes, length);
  return hash_over_64(bytes, length);
}

// The fingerprint of a word's eight little-endian bytes.
inline uint64_t fingerprint_of_word(uint64_t word) {
  constexpr uint64_t kMultiplier = kPrime2 + 16;
  const uint64_t a = word + kPrime2;
  return combine(rotate(word, 37) * kMultiplier + a, (rotate(a, 25) + word) * kMultiplier, kMultiplier);
}

}  // namespace sparrow::farm
