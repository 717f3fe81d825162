// Structs of Thrift's compact protocol. The memory may come from a damaged file: nothing is read beyond its end, and what is not
// understood is refused. Source: Apache Thrift, "Thrift Compact Protocol".
#pragma once

#include <cstdint>

#include "core/byte_range.h"

namespace sparrow {

// Reads the fields that are asked for, and skips the others.
class ThriftReader {
 public:
  explicit ThriftReader(ByteRange from) : from_(from) {}

  ByteRange rest() const { return from_; }

  // Calls of(field, type) for each field of a struct; `of` returns whether it read the value, else it is skipped.
  template <typename F>
  bool read_struct(F of, int depth = 0) {
    for (int64_t field = 0;;) {
      if (depth > kMaxDepth || from_.at == from_.end) return false;
      const uint8_t head = *from_.at++;
      const int type = head & 0x0f;
      if (type == kStop) return true;
      if ((head >> 4) != 0) {
        field += head >> 4;
      } else if (!read_integer(&field)) {
        return false;
      }
      // Fields have 16 bits; no sum of them may overflow.
      if (field < INT16_MIN || field > INT16_MAX) return false;
      const int verdict = of(field, type);
      if (verdict == kBad || (verdict == kUnread && !skip(type, depth))) return false;
    }
  }

  // Calls of() for each struct of a list of structs; `of` reads it, and returns whether it could.
  template <typename F>
  bool read_structs(F of) {
    int type = 0;
    uint64_t count = 0;
    if (!read_list_head(&type, &count) || (count != 0 && type != kStruct)) return false;
    for (; count > 0; --count)
      if (!of()) return false;
    return true;
  }

  bool read_integer(int64_t* out) {
    uint64_t raw = 0;
    if (!read_varint(&from_, &raw)) return false;
    *out = static_cast<int64_t>(raw >> 1) ^ -static_cast<int64_t>(raw & 1);
    return true;
  }

  static constexpr int kUnread = 0, kRead = 1, kBad = 2;
  static constexpr int kStop = 0, kTrue = 1, kFalse = 2, kByte = 3, kI16 = 4, kI32 = 5, kI64 = 6, kDouble = 7, kBinary = 8, kList = 9,
                       kSet = 10, kStruct = 12;

 private:
  // Of structs and lists in each other. Parquet's have about half of it.
  static constexpr int kMaxDepth = 16;

  bool skip(int type, int depth) {
    int64_t number = 0;
    uint64_t length = 0;
    switch (type) {
      case kTrue:
      case kFalse: return true;
      case kByte: return advance(1);
      case kI16:
      case kI32:
      case kI64: return read_integer(&number);
      case kDouble: return advance(8);
      case kBinary: return read_varint(&from_, &length) && advance(length);
      case kList:
      case kSet: return skip_list(depth + 1);
      case kStruct: return read_struct([](int64_t, int) { return kUnread; }, depth + 1);
      default: return false;  // Parquet has no maps
    }
  }

  // Each element has a byte or more, so that a count that is none ends with the memory.
  bool skip_list(int depth) {
    int type = 0;
    uint64_t count = 0;
    if (depth > kMaxDepth || !read_list_head(&type, &count)) return false;
    for (; count > 0; --count)
      if (!skip(type == kTrue || type == kFalse ? kByte : type, depth)) return false;
    return true;
  }

  bool read_list_head(int* type, uint64_t* count) {
    if (from_.at == from_.end) return false;
    const uint8_t head = *from_.at++;
    *type = head & 0x0f;
    *count = head >> 4;
    return *count != 15 || read_varint(&from_, count);
  }

  bool advance(uint64_t count) {
    if (count > static_cast<uint64_t>(from_.size())) return false;
    from_.at += count;
    return true;
  }

  ByteRange from_;
};

}  // namespace sparrow
