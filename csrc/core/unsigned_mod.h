// Remainder and quotient of any unsigned 64-bit number by one divisor, without the division instruction.
#pragma once

#include <cstdint>

namespace sparrow {

// Multiplying by a rounded-up reciprocal of 128 bits gives the exact remainder (Lemire, Kaser, Kurz, "Faster remainder by direct
// computation", 2019): 2 to 3 times the rate of the division instruction. The reciprocal of 1 wraps to 0, and so does every remainder, as
// it must.
class UnsignedMod {
 public:
  explicit UnsignedMod(uint64_t divisor) : divisor_(divisor), reciprocal_(~Wide{0} / divisor + 1) {}

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

 private:
  using Wide = unsigned __int128;
  uint64_t divisor_;
  Wide reciprocal_;
};

}  // namespace sparrow
