// Remainder and quotient of any unsigned 64-bit number by one divisor, without the division instruction.
#pragma once

#include <bit>
#include <cstdint>

namespace sparrow {

// Multiplying by a rounded-up reciprocal of 128 bits gives the exact remainder (Lemire, Kaser, Kurz, "Faster remainder by direct
// computation", 2019): 2 to 3 times the rate of the division instruction. The reciprocal of 1 wraps to 0, and so does every remainder, as
// it must.
class UnsignedMod {
 public:
  explicit UnsignedMod(uint64_t divisor)
      : divisor_(divisor),
        reciprocal_(~Wide{0} / divisor + 1),
        below_(1.0 / static_cast<double>(divisor) * (1.0 - 0x1p-50)),
        inverse_(1.0 / static_cast<double>(divisor)) {}

  uint64_t operator()(uint64_t number) const {
    const Wide fraction = reciprocal_ * number;
    const Wide low = static_cast<Wide>(static_cast<uint64_t>(fraction)) * divisor_;
    const Wide high = static_cast<Wide>(static_cast<uint64_t>(fraction >> 64)) * divisor_;
    return static_cast<uint64_t>((high + (low >> 64)) >> 64);
  }

  // The quotient is the whole part of the product that has the remainder in its fraction; but of 1 the reciprocal has wrapped.
  uint64_t quotient(uint64_t number) const {
    const Wide low = static_cast<Wide>(static_cast<uint64_t>(reciprocal_)) * number;
    const Wide high = static_cast<Wide>(static_cast<uint64_t>(reciprocal_ >> 64)) * number + (low >> 64);
    return divisor_ == 1 ? number : static_cast<uint64_t>(high >> 64);
  }

  // The same for loops over many numbers.
#if defined(__AVX512DQ__)
  // Products and conversions of 64 bits are one instruction for eight numbers there, and one of 128 bits is none. `below_` is so far below
  // 1 / divisor (2^-50 of it, where each rounding is 2^-53) that a quotient by it never is too large. The first is too small by 2^15 at
  // most, so that of what it leaves is too small by 1 at most.
  uint64_t vector_remainder(uint64_t number) const {
    const uint64_t rest = number - static_cast<uint64_t>(static_cast<double>(number) * below_) * divisor_;
    const uint64_t last = rest - static_cast<uint64_t>(static_cast<double>(rest) * below_) * divisor_;
    return last < last - divisor_ ? last : last - divisor_;  // what is below 0 is large
  }
  uint64_t vector_quotient(uint64_t number) const {
    const uint64_t first = static_cast<uint64_t>(static_cast<double>(number) * below_), rest = number - first * divisor_;
    const uint64_t second = static_cast<uint64_t>(static_cast<double>(rest) * below_), last = rest - second * divisor_;
    return first + second + (last >= divisor_ ? 1 : 0);
  }
  static constexpr bool kSmallIsFaster = false;
#else
  static constexpr bool kSmallIsFaster = true;
  uint64_t vector_remainder(uint64_t number) const { return (*this)(number); }
  uint64_t vector_quotient(uint64_t number) const { return quotient(number); }
#endif

  // The same of numbers below `kSmall`, by float64 alone, which any instruction set has several at a time. Such a number is exact, and its
  // quotient by the rounded inverse is off by less than half, and half of 1 / divisor: to the nearest integer, it leaves a rest from
  // -divisor / 2 - 1 / 2 to divisor / 2 + 1 / 2. No product here is inexact: a divisor of more than 53 bits has the quotient 0.
  static constexpr uint64_t kSmall = uint64_t{1} << 51;
  uint64_t small_remainder(uint64_t number) const {
    const double rest = small_rest(number, nearest_quotient(number));
    return integer_of(rest + if_negative(rest, static_cast<double>(divisor_)));
  }
  uint64_t small_quotient(uint64_t number) const {
    const double quotient = nearest_quotient(number);
    return integer_of(quotient - if_negative(small_rest(number, quotient), 1.0));
  }

 private:
  // The low bits of 2^52 + n are those of n. Adding 2^52 rounds to an integer.
  static constexpr double kUnits = 0x1p52;
  static double number_of(uint64_t number) { return std::bit_cast<double>(std::bit_cast<uint64_t>(kUnits) | number) - kUnits; }
  static uint64_t integer_of(double number) { return std::bit_cast<uint64_t>(number + kUnits) ^ std::bit_cast<uint64_t>(kUnits); }
  // `value` or 0, by bits: compilers do not choose between sums of several numbers at a time, lest one of them traps.
  static double if_negative(double number, double value) {
    return std::bit_cast<double>(std::bit_cast<int64_t>(value) & (std::bit_cast<int64_t>(number) >> 63));
  }
  double nearest_quotient(uint64_t number) const { return (number_of(number) * inverse_ + kUnits) - kUnits; }
  double small_rest(uint64_t number, double quotient) const { return number_of(number) - quotient * static_cast<double>(divisor_); }

  using Wide = unsigned __int128;
  uint64_t divisor_;
  Wide reciprocal_;
  double below_, inverse_;
};

}  // namespace sparrow
