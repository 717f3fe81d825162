// A fixed 64-bit bijection, salted per table: spreads ids so that any input (sequential, multiples of 2^k, equal low bits)
// fills the id map evenly. Part of the checkpoint format: the canonical order of rows is unsigned mix order.
#pragma once

#include <cstdint>

namespace sparrow {

// Stafford's variant 13 of the 64-bit finalizer ("Better Bit Mixing", 2011), after an exclusive or with the salt.
inline uint64_t mix(uint64_t id, uint64_t salt) {
  uint64_t x = id ^ salt;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

}  // namespace sparrow
