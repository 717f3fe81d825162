// 16-bit weights: stored narrow, computed in float. Conversions are integer and exact or rounded to nearest even, without a branch, so
// that loops over them vectorise and no flush-to-zero mode changes a bit.
#pragma once

#include <bit>
#include <cstdint>

namespace sparrow {

struct BFloat16 {
  uint16_t bits;
};

struct Float16 {  // IEEE binary16
  uint16_t bits;
};

// The type that arithmetic on weights of type W is done in.
template <typename W>
struct ComputeOf {
  using type = W;
};
template <>
struct ComputeOf<BFloat16> {
  using type = float;
};
template <>
struct ComputeOf<Float16> {
  using type = float;
};
template <typename W>
using Compute = typename ComputeOf<W>::type;

inline float widen(float value) { return value; }
inline double widen(double value) { return value; }
inline float widen(BFloat16 value) { return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16); }

inline float widen(Float16 value) {
  constexpr uint32_t kRebias = uint32_t{127 - 15} << 23, kInfinite = uint32_t{0x7c00} << 13, kSmallestNormal = uint32_t{113} << 23;
  const uint32_t magnitude = static_cast<uint32_t>(value.bits & 0x7fff) << 13;
  const uint32_t normal = magnitude + kRebias + (magnitude >= kInfinite ? kRebias : 0);
  // Below the normals: the bits count units of 2^-24, which a subtraction of normal floats yields exactly.
  const float small = std::bit_cast<float>(magnitude + kSmallestNormal) - std::bit_cast<float>(kSmallestNormal);
  const uint32_t bits = magnitude < (uint32_t{1} << 23) ? std::bit_cast<uint32_t>(small) : normal;
  return std::bit_cast<float>(bits | static_cast<uint32_t>(value.bits & 0x8000) << 16);
}

template <typename W>
inline W narrow(Compute<W> value) {
  return value;
}

template <>
inline BFloat16 narrow<BFloat16>(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const bool is_nan = (bits & 0x7fffffff) > 0x7f800000;
  return {static_cast<uint16_t>(is_nan ? (bits >> 16) | 0x40 : rounded)};
}

template <>
inline Float16 narrow<Float16>(float value) {
  constexpr uint32_t kTooLarge = uint32_t{127 + 16} << 23, kSmallestNormal = uint32_t{113} << 23;
  // Adding 2^-1 leaves the value, in units of 2^-24, in the low bits of the sum, rounded to nearest even by the addition.
  constexpr uint32_t kUnits = uint32_t{127 - 1} << 23;
  const uint32_t bits = std::bit_cast<uint32_t>(value), magnitude = bits & 0x7fffffff;
  const uint32_t small = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + std::bit_cast<float>(kUnits)) - kUnits;
  const uint32_t normal = (magnitude - (uint32_t{127 - 15} << 23) + 0xfff + ((magnitude >> 13) & 1)) >> 13;
  const uint32_t large = magnitude > 0x7f800000 ? 0x7e00 : 0x7c00;  // NaN, or beyond the largest
  const uint32_t narrowed = magnitude >= kTooLarge ? large : magnitude < kSmallestNormal ? small : normal;
  return {static_cast<uint16_t>(narrowed | ((bits >> 16) & 0x8000))};
}

}  // namespace sparrow
