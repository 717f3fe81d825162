// Headers of the pages of a Parquet column chunk. The memory may come from a damaged file: nothing is read beyond its end, and what is not
// understood is refused.
// Source: the Parquet format 2.10 (parquet.thrift), Thrift's compact protocol.
#pragma once

#include <cstdint>

#include "core/byte_range.h"

namespace sparrow {

// Reads structs of Thrift's compact protocol, of which it keeps the integers.
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
      const int verdict = of(field, type);
      if (verdict == kBad || (verdict == kUnread && !skip(type, depth))) return false;
    }
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
  static constexpr int kMaxDepth = 8;

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
      case kStruct: return read_struct([](int64_t, int) { return kUnread; }, depth + 1);
      default: return false;  // headers of pages hold no others
    }
  }

  bool advance(uint64_t count) {
    if (count > static_cast<uint64_t>(from_.size())) return false;
    from_.at += count;
    return true;
  }

  ByteRange from_;
};

struct PageHeader {
  enum Type : int64_t { kData = 0, kIndex = 1, kDictionary = 2, kDataV2 = 3 };

  int64_t type = -1, raw_bytes = -1, stored_bytes = -1, num_values = -1, encoding = -1;
  int64_t def_encoding = -1, rep_encoding = -1;                           // of kData
  int64_t num_nulls = -1, num_rows = -1, def_bytes = -1, rep_bytes = -1;  // of kDataV2
  bool is_compressed = true, has_crc = false;
};

// Reads a page's header off the front of `chunk`. Returns false where it makes no sense.
inline bool read_page_header(ByteRange* chunk, PageHeader* header) {
  using Reader = ThriftReader;
  Reader reader(*chunk);
  const auto number = [&](int type, int64_t* out) {
    if (type != Reader::kI32) return Reader::kBad;
    return reader.read_integer(out) ? Reader::kRead : Reader::kBad;
  };
  const auto inner = [&](int type, auto of) {
    if (type != Reader::kStruct) return Reader::kBad;
    return reader.read_struct(of, 1) ? Reader::kRead : Reader::kBad;
  };
  int num_inner = 0;
  const auto of_data = [&](int64_t field, int type) {
    int64_t* const out[] = {&header->num_values, &header->encoding, &header->def_encoding, &header->rep_encoding};
    return field >= 1 && field <= 4 ? number(type, out[field - 1]) : Reader::kUnread;
  };
  const auto of_dictionary = [&](int64_t field, int type) {
    int64_t* const out[] = {&header->num_values, &header->encoding};
    return field >= 1 && field <= 2 ? number(type, out[field - 1]) : Reader::kUnread;
  };
  const auto of_data_v2 = [&](int64_t field, int type) {
    int64_t* const out[] = {&header->num_values, &header->num_nulls, &header->num_rows,
                            &header->encoding,   &header->def_bytes, &header->rep_bytes};
    if (field == 7) header->is_compressed = type == Reader::kTrue;
    return field >= 1 && field <= 6 ? number(type, out[field - 1]) : Reader::kUnread;
  };
  const bool good = reader.read_struct([&](int64_t field, int type) {
    int64_t unused = 0;
    switch (field) {
      case 1: return number(type, &header->type);
      case 2: return number(type, &header->raw_bytes);
      case 3: return number(type, &header->stored_bytes);
      case 4: header->has_crc = true; return number(type, &unused);
      case 5: ++num_inner; return header->type == PageHeader::kData ? inner(type, of_data) : Reader::kBad;
      case 7: ++num_inner; return header->type == PageHeader::kDictionary ? inner(type, of_dictionary) : Reader::kBad;
      case 8: ++num_inner; return header->type == PageHeader::kDataV2 ? inner(type, of_data_v2) : Reader::kBad;
      default: return Reader::kUnread;
    }
  });
  const ByteRange rest = reader.rest();
  const auto is_count = [](int64_t value) { return value >= 0 && value <= INT32_MAX; };
  if (!good || num_inner != 1 || !is_count(header->stored_bytes) || !is_count(header->raw_bytes) || !is_count(header->num_values) ||
      header->stored_bytes > rest.size())
    return false;
  *chunk = rest;
  return true;
}

}  // namespace sparrow
