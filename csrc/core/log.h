// Natural logarithms in float64 without a library's: IEEE + - * / in a written order, so equal bits wherever they run; no branch, so loops
// over them vectorise. The error stays below 1 unit in the last place (tests/ops/test_map_values_log.py measures it).
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

namespace sparrow {

// log(x + rest) - extra * log(2), for x positive and normal, and `rest` below a unit in its last place.
//
// x = 2^k (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2), and log(1 + f) = 2 artanh(s) for s = f / (2 + f). `series` stands for the terms
// of artanh's beyond the first, over s: a polynomial in s^2 that meets them at seven Chebyshev nodes, and is off by 2^-57 of the sum. Since
// 2 s = f - s f, and s f = f^2/2 - s f^2/2, the sum is f - (f^2/2 - s (f^2/2 + series)): all that is rounded is small beside f. k log(2) is
// split in two, the first part exact, and added to f without losing what the sum rounds away.
inline double log_of(double x, double rest, double extra) {
  constexpr uint64_t kSqrtHalf = 0x3fe6a09e667f3bcdULL, kOne = uint64_t{1023} << 52;
  constexpr double kLog2High = 0x1.62e42fefa2p-1, kLog2Low = 0x1.9ef35793c7673p-41;
  const uint64_t bits = std::bit_cast<uint64_t>(x), biased = (bits - kSqrtHalf + kOne) >> 52;  // k + 1023
  // An integer below 2^52 is a double whose exponent says so: subtracting takes the rest away.
  const double k = (std::bit_cast<double>(biased | 0x4330000000000000ULL) - (0x1p52 + 1023)) - extra;
  const double f = std::bit_cast<double>(bits - (biased << 52) + kOne) - 1.0;
  const double s = f / (2.0 + f), z = s * s, half_square = 0.5 * f * f;
  double series = 0x1.2b584aae84960p-3;
  series = series * z + 0x1.39fe606541e69p-3;
  series = series * z + 0x1.7462b4ab2efe2p-3;
  series = series * z + 0x1.c71c62e58009fp-3;
  series = series * z + 0x1.2492492df148dp-2;
  series = series * z + 0x1.99999999952e2p-2;
  series = series * z + 0x1.5555555555558p-1;
  series = series * z;
  // rest / x, where 1 / (1 + f) = (1 - s) / (1 + s) is nearly 1 - 2 s: near enough for so small a number. Where 2^-k is no normal number,
  // `rest` is nothing.
  const auto reversed = static_cast<int64_t>((uint64_t{2046} << 52) - (biased << 52));
  const double beside = rest * std::bit_cast<double>(reversed > 0 ? reversed : 0) * (1.0 - 2.0 * s);
  const double whole = k * kLog2High, high = whole + f, lost = (whole - high) + f;
  return high + (lost + ((s * (half_square + series) + (k * kLog2Low + beside)) - half_square));
}

// A choice made of bits: compilers turn one between constants into a branch.
inline double select(bool condition, double yes, double no) {
  const uint64_t mask = -static_cast<uint64_t>(condition);
  return std::bit_cast<double>((std::bit_cast<uint64_t>(yes) & mask) | (std::bit_cast<uint64_t>(no) & ~mask));
}

// log(x): -infinity of 0, NaN of negative numbers and NaN.
inline double log_number(double x) {
  const bool is_small = x < 0x1p-1022;
  const double value = log_of(is_small ? x * 0x1p54 : x, 0.0, is_small ? 54.0 : 0.0);
  const double out = select(x < std::numeric_limits<double>::infinity(), value, x);
  const double not_negative = select(x < 0.0, std::numeric_limits<double>::quiet_NaN(), out);
  return select(x == 0.0, -std::numeric_limits<double>::infinity(), not_negative);
}

// log(1 + max(x, 0)); NaN stays NaN.
inline double log1p_number(double x) {
  const double least = x < 0.0 ? 0.0 : x;
  const double sum = 1.0 + least, part = sum - 1.0;
  const double rest = (1.0 - (sum - part)) + (least - part);  // what the sum rounds away
  const double value = log_of(sum, rest, 0.0);
  return sum < std::numeric_limits<double>::infinity() ? value : least;
}

}  // namespace sparrow
