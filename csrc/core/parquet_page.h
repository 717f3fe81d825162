// Headers of the pages of a Parquet column chunk. The memory may come from a damaged file: nothing is read beyond its end, and what is not
// understood is refused.
// Source: the Parquet format 2.10 (parquet.thrift): PageHeader.
#pragma once

#include <cstdint>

#include "core/thrift_reader.h"

namespace sparrow {

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
    if (field == 7 && type != Reader::kTrue && type != Reader::kFalse) return Reader::kBad;
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
  // The numbers that a header of its type must have.
  const bool is_dictionary = header->type == PageHeader::kDictionary, is_v1 = header->type == PageHeader::kData;
  if (header->encoding < 0 || (is_v1 && (header->def_encoding < 0 || header->rep_encoding < 0))) return false;
  if (!is_dictionary && !is_v1 && (header->num_nulls < 0 || header->num_rows < 0 || header->def_bytes < 0 || header->rep_bytes < 0))
    return false;
  const ByteRange rest = reader.rest();
  const auto is_count = [](int64_t value) { return value >= 0 && value <= INT32_MAX; };
  if (!good || num_inner != 1 || !is_count(header->stored_bytes) || !is_count(header->raw_bytes) || !is_count(header->num_values) ||
      header->stored_bytes > rest.size())
    return false;
  *chunk = rest;
  return true;
}

}  // namespace sparrow
