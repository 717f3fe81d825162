// Numbers of a few bits, as Parquet stores levels and places in a dictionary: runs of one number, and numbers packed bit by bit.
// Source: the Parquet format, "RLE / Bit-Packing Hybrid".
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "core/byte_range.h"

namespace sparrow {

// Unpacks `count` numbers of `width` <= 32 bits from packed bytes, of which there are enough. `end` is where memory that may be read ends.
template <typename Out>
void unpack_bits(const uint8_t* packed, const uint8_t* end, int width, int64_t count, Out* __restrict out) {
  if (width == 0) {
    std::fill_n(out, count, Out{0});
    return;
  }
  const uint64_t mask = (uint64_t{1} << width) - 1;
  // As many as can be read by whole words.
  const int64_t fast = std::clamp<int64_t>((end - packed - 8) * 8 / width, 0, count);
  for (int64_t i = 0; i < fast; ++i) {
    const int64_t bit = i * width;
    uint64_t word;
    std::memcpy(&word, packed + (bit >> 3), sizeof word);
    out[i] = static_cast<Out>((word >> (bit & 7)) & mask);
  }
  for (int64_t i = fast; i < count; ++i) {
    const int64_t first = i * width >> 3, last = (i * width + width - 1) >> 3;
    uint64_t word = 0;
    for (int64_t byte = first; byte <= last; ++byte) word |= static_cast<uint64_t>(packed[byte]) << (8 * (byte - first));
    out[i] = static_cast<Out>((word >> (i * width & 7)) & mask);
  }
}

// Reads exactly `count` numbers of `width` bits. Returns false where the bytes hold fewer, or more than fill up the last groups.
template <typename Out>
bool read_bit_runs(ByteRange from, int width, int64_t count, Out* out) {
  if (width < 0 || width > 32) return false;
  const int64_t num_bytes = (width + 7) / 8;
  while (count > 0) {
    uint64_t head = 0;
    if (!read_varint(&from, &head)) return false;
    if ((head & 1) == 0) {
      if (from.size() < num_bytes || head == 0) return false;
      uint64_t value = 0;
      for (int64_t i = 0; i < num_bytes; ++i) value |= static_cast<uint64_t>(from.at[i]) << (8 * i);
      if ((value >> width) != 0) return false;
      from.at += num_bytes;
      if (head >> 1 > static_cast<uint64_t>(count)) return false;
      const auto run = static_cast<int64_t>(head >> 1);
      std::fill_n(out, run, static_cast<Out>(value));
      out += run, count -= run;
      continue;
    }
    // Groups of eight, which have `width` bytes each. Some writers round the last run up to more of them than are wanted.
    const uint64_t num_groups = head >> 1, num_wanted = (static_cast<uint64_t>(count) + 7) / 8;
    const int64_t wanted = num_groups < num_wanted ? static_cast<int64_t>(num_groups) * 8 : count;
    if (num_groups == 0 || (width != 0 && num_groups > static_cast<uint64_t>(from.size() / width))) return false;
    unpack_bits(from.at, from.end, width, wanted, out);
    if (width != 0) from.at += static_cast<int64_t>(num_groups) * width;
    out += wanted, count -= wanted;
  }
  return from.at == from.end;
}

}  // namespace sparrow
