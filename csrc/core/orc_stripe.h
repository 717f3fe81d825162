// A stripe of an ORC file: which streams it has, and their bytes after decompression. Memory may come from a damaged file: nothing is read
// beyond its end, and what is not understood is refused.
// Source: the ORC specification (version 1), "Stripe Footer", "Compression"; Protocol Buffers' encoding.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "core/byte_range.h"
#include "core/snappy.h"

namespace sparrow {

enum class OrcCodec : int64_t { kNone = 0, kSnappy = 1 };

struct OrcStream {
  enum Kind : uint64_t { kPresent = 0, kData = 1, kLength = 2 };

  uint64_t kind, column;
  ByteRange bytes;  // as stored
};

// A stripe's bytes from its first stream of data on, and how they are stored.
struct OrcBytes {
  ByteRange stripe;
  int64_t index_bytes;   // of the streams before
  int64_t footer_bytes;  // at the end
  OrcCodec codec;
  int64_t block_bytes;  // a chunk has at most, once decompressed
};

// Gives the plain bytes of a stream: those stored, or those in `room`. Returns false where they are damaged.
inline bool orc_plain(const OrcBytes& how, ByteRange stored, std::vector<uint8_t>* room, ByteRange* out) {
  if (how.codec == OrcCodec::kNone) {
    *out = stored;
    return true;
  }
  room->clear();
  while (stored.at < stored.end) {
    if (stored.size() < 3) return false;
    const uint32_t head = stored.at[0] | stored.at[1] << 8 | stored.at[2] << 16;
    stored.at += 3;
    if (head >> 1 > stored.size()) return false;
    const ByteRange chunk{stored.at, stored.at + (head >> 1)};
    stored.at = chunk.end;
    uint64_t num_bytes = chunk.size();
    if ((head & 1) == 0 && !unsnappy_bytes(chunk, &num_bytes)) return false;
    if (num_bytes > static_cast<uint64_t>(how.block_bytes)) return false;
    const size_t before = room->size();
    room->resize(before + num_bytes);
    if ((head & 1) != 0) {
      std::copy(chunk.at, chunk.end, room->data() + before);
    } else if (!unsnappy(chunk, room->data() + before, num_bytes)) {
      return false;
    }
  }
  *out = {room->data(), room->data() + room->size()};
  return true;
}

// What a stripe's footer says: the streams of data in the order they lie in, and the encodings by column.
struct OrcFooter {
  std::vector<OrcStream> streams;
  std::vector<uint64_t> encodings;
};

// Calls of(field, number, bytes) for each field of a message: a number, or bytes. Returns false where it is damaged, or `of` says so.
template <typename F>
bool read_message(ByteRange from, F of) {
  while (from.at < from.end) {
    uint64_t number = 0;
    // The fields of these messages have numbers of one byte, from 1 on.
    const uint8_t key = *from.at++;
    if (key < 8 || key > 127) return false;
    ByteRange bytes{};
    switch (key & 7) {
      case 0:
        if (!read_varint(&from, &number)) return false;
        break;
      case 2:
        if (!read_varint(&from, &number) || number > static_cast<uint64_t>(from.size())) return false;
        bytes = {from.at, from.at + number};
        from.at = bytes.end;
        break;
      default: return false;  // these messages have no others
    }
    if (!of(key >> 3, (key & 7) == 2, number, bytes)) return false;
  }
  return true;
}

// Reads the footer of a stripe. Returns false where it makes no sense.
inline bool read_orc_footer(const OrcBytes& how, OrcFooter* out) {
  if (how.footer_bytes < 0 || how.footer_bytes > how.stripe.size() || how.index_bytes < 0 ||
      how.index_bytes > INT64_MAX - how.stripe.size())
    return false;
  const uint8_t* const end_of_data = how.stripe.end - how.footer_bytes;
  const uint64_t all_bytes = how.index_bytes + (end_of_data - how.stripe.at);
  std::vector<uint8_t> room;
  ByteRange footer{};
  if (!orc_plain(how, {end_of_data, how.stripe.end}, &room, &footer)) return false;
  uint64_t at = 0;
  const bool good = read_message(footer, [&](uint64_t field, bool is_bytes, uint64_t, ByteRange inner) {
    if (field == 1) {
      uint64_t kind = 0, column = 0, length = 0;
      if (!is_bytes || !read_message(inner, [&](uint64_t of, bool of_bytes, uint64_t number, ByteRange) {
            (of == 1 ? kind : of == 2 ? column : length) = number;
            return of <= 3 && !of_bytes;
          }))
        return false;
      if (length > all_bytes - at) return false;
      const uint64_t first = how.index_bytes;
      if (kind <= OrcStream::kLength) {
        if (at < first) return false;  // it is among the indexes
        const uint8_t* const begin = how.stripe.at + (at - first);
        out->streams.push_back({kind, column, {begin, begin + length}});
      }
      at += length;
      return true;
    }
    if (field == 2) {
      uint64_t encoding = 0;
      // The other numbers are those of a dictionary and of a Bloom filter.
      if (!is_bytes || !read_message(inner, [&](uint64_t of, bool of_bytes, uint64_t number, ByteRange) {
            if (of == 1) encoding = number;
            return of <= 3 && !of_bytes;
          }))
        return false;
      out->encodings.push_back(encoding);
      return true;
    }
    return field == 3 && is_bytes;  // the time zone of the writer; anything else is encryption
  });
  return good && at == all_bytes;
}

}  // namespace sparrow
