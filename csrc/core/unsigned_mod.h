// Remainder and quotient of any unsigned 64-bit number by one divisor, without the division instruction.
#pragma once

#include <cstdint>

namespace sparrow {

// Multiplying by a rounded-up reciprocal of 128 bits gives the exact remainder (Lemire, Kaser, Kurz, "Faster remainder by direct
// computation", 2019): 2 to 3 times the rate of the division instruction. The reciprocal of 1 wraps to 0, and so does every remainder, as
// it must.
class UnsignedMod {
 public:
  explicit UnsignedMod(uint64_t divisor)
      : divisor_(divisor), reciprocal_(~Wide{0} / divisor + 1), below_(1.0 / static_cast<double>(divisor) * (1.0 - 0x1p-50)) {}

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
#else
  uint64_t vector_remainder(uint64_t number) const { return (*this)(number); }
  uint64_t vector_quotient(uint64_t number) const { return quotient(number); }
#endif

 private:
  using Wide = unsigned __int128;
  uint64_t divisor_;
  Wide reciprocal_;
  double below_;
};

}  // namespace sparrow
