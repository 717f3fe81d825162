// Snappy's blocks. Source: its format description.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/byte_range.h"

namespace sparrow {

// Copies `length` bytes from `offset` bytes before `out`, which may be bytes that it writes itself. Bytes behind them, up to `end`, may
// change.
inline void repeat(uint8_t* out, int64_t offset, int64_t length, const uint8_t* end) {
  constexpr int64_t kWord = 8;
  // Words at a time, where what is written beyond the end does no harm. A pattern shorter than a word is doubled first: of each word as
  // many bytes count as had been written.
  if (end - out >= length + 2 * kWord) {
    const uint8_t* const source = out - offset;
    uint8_t* const stop = out + length;
    while (out < stop && out - source < kWord) {
      uint64_t word;
      std::memcpy(&word, source, kWord);
      std::memcpy(out, &word, kWord);
      out += out - source;
    }
    const uint8_t* from = source;
    for (; out < stop; out += kWord, from += kWord) {
      uint64_t word;
      std::memcpy(&word, from, kWord);
      std::memcpy(out, &word, kWord);
    }
    return;
  }
  for (int64_t i = 0; i < length; ++i) out[i] = out[i - offset];
}

// Reads how many bytes a Snappy block has once decompressed. Returns false where no block of its size has so many: memory is not set aside
// for a number that is damaged.
inline bool unsnappy_bytes(ByteRange from, uint64_t* num_bytes) {
  // Of all elements a copy with an offset of two bytes makes most of its bytes: 64 of 3.
  constexpr uint64_t kMostOfByte = 22;
  return read_varint(&from, num_bytes) && *num_bytes <= kMostOfByte * static_cast<uint64_t>(from.size());
}

// Decompresses a Snappy block into exactly `num_bytes` bytes. Returns false where it is damaged or of another length.
inline bool unsnappy(ByteRange from, uint8_t* out, int64_t num_bytes) {
  uint64_t announced = 0;
  if (!read_varint(&from, &announced) || announced != static_cast<uint64_t>(num_bytes)) return false;
  uint8_t* const begin = out;
  uint8_t* const end = out + num_bytes;
  while (from.at < from.end) {
    const uint8_t tag = *from.at++;
    int64_t length = (tag >> 2) + 1;
    if ((tag & 3) == 0) {
      if (length > 60) {
        const int64_t num_extra = length - 60;
        if (from.size() < num_extra) return false;
        length = 0;
        for (int64_t i = 0; i < num_extra; ++i) length |= static_cast<int64_t>(from.at[i]) << (8 * i);
        ++length;
        from.at += num_extra;
      }
      if (length > from.size() || length > end - out) return false;
      if (length <= 16 && from.size() >= 16 && end - out >= 16) {
        std::memcpy(out, from.at, 16);
      } else {
        std::memcpy(out, from.at, length);
      }
      from.at += length;
      out += length;
      continue;
    }
    int64_t offset = 0;
    const int num_bytes_of_offset = (tag & 3) == 1 ? 1 : (tag & 3) == 2 ? 2 : 4;
    if (from.size() < num_bytes_of_offset) return false;
    for (int i = 0; i < num_bytes_of_offset; ++i) offset |= static_cast<int64_t>(from.at[i]) << (8 * i);
    from.at += num_bytes_of_offset;
    if ((tag & 3) == 1) {
      offset |= static_cast<int64_t>(tag >> 5) << 8;
      length = ((tag >> 2) & 7) + 4;
    }
    if (offset == 0 || offset > out - begin || length > end - out) return false;
    repeat(out, offset, length, end);
    out += length;
  }
  return out == end;
}

}  // namespace sparrow
