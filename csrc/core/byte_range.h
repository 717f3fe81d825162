// Memory of a file that is read from the front on, never beyond its end.
#pragma once

#include <cstdint>

namespace sparrow {

// Bytes that are left to read.
struct ByteRange {
  const uint8_t* at;
  const uint8_t* end;

  int64_t size() const { return end - at; }
};

// Reads a number of 7 bits a byte, the low ones first. Returns false where it is cut off or longer than 64 bits.
inline bool read_varint(ByteRange* from, uint64_t* out) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64 && from->at < from->end; shift += 7) {
    const uint8_t byte = *from->at++;
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) {
      *out = value;
      return true;
    }
  }
  return false;
}

}  // namespace sparrow
