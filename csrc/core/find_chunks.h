// Where the column chunks of a Parquet file lie, from its footer. The memory may come from a damaged file: nothing is read beyond its end.
// Source: the Parquet format 2.10 (parquet.thrift): FileMetaData, RowGroup, ColumnChunk, ColumnMetaData.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/thrift_reader.h"

namespace sparrow {

// A chunk; all of it -1 where it has to be left to a reader that knows more: encrypted, in another file, or with numbers that are none.
struct FoundChunk {
  int64_t codec = -1;
  int64_t num_values = -1;
  int64_t begin = -1, end = -1;  // bytes of the file
};
static_assert(sizeof(FoundChunk) == 4 * sizeof(int64_t));

// Reads the numbers of a chunk's ColumnMetaData.
inline bool read_chunk_numbers(ThriftReader* reader, FoundChunk* out) {
  using Reader = ThriftReader;
  int64_t codec = -1, num_values = -1, num_bytes = -1, data = -1, dictionary = 0;
  const auto number = [&](int type, int wanted, int64_t* to) {
    return type == wanted && reader->read_integer(to) ? Reader::kRead : Reader::kBad;
  };
  const bool good = reader->read_struct(
      [&](int64_t field, int type) {
        switch (field) {
          case 4: return number(type, Reader::kI32, &codec);
          case 5: return number(type, Reader::kI64, &num_values);
          case 7: return number(type, Reader::kI64, &num_bytes);
          case 9: return number(type, Reader::kI64, &data);
          case 11: return number(type, Reader::kI64, &dictionary);
          default: return Reader::kUnread;
        }
      },
      3);
  if (!good) return false;
  // Where there is no dictionary, some writers say that it is at 0, others that it is behind the data.
  const int64_t begin = dictionary > 0 && dictionary < data ? dictionary : data;
  if (codec >= 0 && num_values >= 0 && num_bytes >= 0 && begin >= 0 && num_bytes <= INT64_MAX - begin)
    *out = {codec, num_values, begin, begin + num_bytes};
  return true;
}

inline bool read_chunk(ThriftReader* reader, FoundChunk* out) {
  using Reader = ThriftReader;
  bool is_elsewhere = false;
  const bool good = reader->read_struct(
      [&](int64_t field, int type) {
        // The path of another file; what is encrypted, how, and the encrypted metadata.
        if (field == 1 || field == 8 || field == 9) is_elsewhere = true;
        if (field != 3) return Reader::kUnread;
        return type == Reader::kStruct && read_chunk_numbers(reader, out) ? Reader::kRead : Reader::kBad;
      },
      2);
  if (is_elsewhere) *out = FoundChunk{};
  return good;
}

// Finds the chunks of all row groups, `num_leaves` each, in a footer. Returns false where it is none, or a group has more or fewer.
inline bool find_chunks(ByteRange footer, int64_t num_leaves, std::vector<FoundChunk>* out) {
  using Reader = ThriftReader;
  Reader reader(footer);
  const auto read_group = [&] {
    const size_t before = out->size();
    const auto of_chunk = [&] {
      out->emplace_back();
      return read_chunk(&reader, &out->back());
    };
    const bool good = reader.read_struct(
        [&](int64_t field, int type) {
          if (field != 1) return Reader::kUnread;
          return type == Reader::kList && reader.read_structs(of_chunk) ? Reader::kRead : Reader::kBad;
        },
        1);
    return good && out->size() - before == static_cast<size_t>(num_leaves);
  };
  return reader.read_struct([&](int64_t field, int type) {
    if (field != 4) return Reader::kUnread;
    return type == Reader::kList && reader.read_structs(read_group) ? Reader::kRead : Reader::kBad;
  });
}

}  // namespace sparrow
