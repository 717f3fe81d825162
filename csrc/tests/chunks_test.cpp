// Footers of Parquet, of Thrift structs in each other, whole and damaged, on exact copies of the memory, under AddressSanitizer and UBSan.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <vector>

#include "core/bit_runs.h"
#include "core/find_chunks.h"
#include "core/parquet_page.h"
#include "core/snappy.h"
#include "tests/exact.h"

namespace {

using namespace sparrow;

void append(Bytes* out, const Bytes& bytes) { out->insert(out->end(), bytes.begin(), bytes.end()); }

void put_varint(Bytes* out, uint64_t value) {
  for (; value >= 128; value >>= 7) out->push_back(static_cast<uint8_t>(value) | 128);
  out->push_back(static_cast<uint8_t>(value));
}

void put_number(Bytes* out, int step, int type, int64_t value) {
  out->push_back(static_cast<uint8_t>(step << 4 | type));
  put_varint(out, static_cast<uint64_t>(value) << 1 ^ static_cast<uint64_t>(value >> 63));
}

// Two row groups of three chunks, whose metadata has lists, texts and structs beside the numbers.
Bytes footer() {
  Bytes out = {0x15, 4, 0x19, 0x1c, 0x48, 2, 'i', 'd', 0, 0x16, 20, 0x19, 0x2c};
  for (int group = 0; group < 2; ++group) {
    append(&out, {0x19, 0x3c});
    for (int chunk = 0; chunk < 3; ++chunk) {
      append(&out, {0x26, 8, 0x1c, 0x15, 2, 0x19, 0x25, 0, 6, 0x19, 0x18, 2, 'i', 'd'});
      put_number(&out, 1, ThriftReader::kI32, 1);
      put_number(&out, 1, ThriftReader::kI64, 10 + chunk);
      put_number(&out, 1, ThriftReader::kI64, 90);
      put_number(&out, 1, ThriftReader::kI64, 80);
      put_number(&out, 2, ThriftReader::kI64, 500 * group + 100 * chunk + 20);
      put_number(&out, 2, ThriftReader::kI64, chunk == 1 ? 0 : 500 * group + 100 * chunk + 4);
      append(&out, {0x1c, 0x36, 2, 0x21, 0, 0x49, 0x12, 1, 0, 0});  // statistics; a list of truth values; the ends
    }
    put_number(&out, 1, ThriftReader::kI64, 300);
    put_number(&out, 1, ThriftReader::kI64, 10);
    out.push_back(0);
  }
  out.push_back(0);
  return out;
}

void chunks_are_found() {
  const Exact exact(footer());
  std::vector<FoundChunk> found;
  expect(find_chunks(exact.range(), 3, &found) && found.size() == 6, "six chunks");
  for (int i = 0; i < 6; ++i) {
    const int64_t begin = i / 3 * 500 + i % 3 * 100 + (i % 3 == 1 ? 20 : 4);
    const FoundChunk& one = found[i];
    expect(one.codec == 1 && one.num_values == 10 + i % 3 && one.begin == begin && one.end == begin + 80, "where they are");
  }
  found.clear();
  expect(!find_chunks(exact.range(), 2, &found), "a group has more chunks");
}

Bytes damaged(std::mt19937_64* random, Bytes bytes) {
  for (uint64_t i = 1 + (*random)() % 3; i > 0 && !bytes.empty(); --i) {
    const size_t at = (*random)() % bytes.size(), end = std::min(bytes.size(), at + 1 + (*random)() % 6);
    const Bytes piece(bytes.begin() + at, bytes.begin() + end);
    switch ((*random)() % 6) {
      case 0: bytes[at] = static_cast<uint8_t>((*random)()); break;
      case 1: bytes[at] ^= 1 << (*random)() % 8; break;
      case 2: std::fill(bytes.begin() + at, bytes.begin() + end, (*random)() % 2 == 0 ? 0xff : 0xfc); break;
      case 3: bytes.erase(bytes.begin() + at, bytes.begin() + end); break;
      case 4: bytes.insert(bytes.begin() + at, piece.begin(), piece.end()); break;
      default: bytes.resize(at);
    }
  }
  return bytes;
}

void damaged_footers_give_places_that_are_some() {
  std::mt19937_64 random(1);
  const Bytes whole = footer();
  for (int round = 0; round < 200000; ++round) {
    const Exact exact(damaged(&random, whole));
    std::vector<FoundChunk> found;
    find_chunks(exact.range(), 3, &found);
    for (const FoundChunk& one : found) expect(one.begin >= -1 && one.begin <= one.end && one.num_values >= -1, "a place");
    ByteRange page = exact.range();
    PageHeader header;
    if (read_page_header(&page, &header)) expect(header.stored_bytes <= page.size() && header.encoding >= 0, "a header");
  }
}

void structs_and_lists_in_each_other_end() {
  for (const uint8_t field : {0x1c, 0x19}) {
    const Exact deep(Bytes(1 << 20, field));  // a struct in a struct, or a list of lists
    std::vector<FoundChunk> found;
    expect(!find_chunks(deep.range(), 1, &found), "deeper than any footer");
  }
  // A list of 2^63 numbers, none of which is there; fields beyond all numbers of fields.
  Bytes long_list = {0x19, 0xf5};
  put_varint(&long_list, uint64_t{1} << 63);
  Bytes far_field = {0x05};
  put_varint(&far_field, UINT64_MAX - 1);
  append(&far_field, {0, 0x15, 0, 0});
  for (const Bytes& bytes : {long_list, far_field}) {
    const Exact exact(bytes);
    std::vector<FoundChunk> found;
    expect(!find_chunks(exact.range(), 1, &found), "it is refused");
  }
}

void runs_of_bits_end_with_their_bytes() {
  const auto read = [](const Bytes& bytes, int width, int64_t count) {
    const Exact exact(bytes);
    std::vector<uint32_t> out(count);
    return read_bit_runs(exact.range(), width, count, out.data());
  };
  expect(read({10 << 1, 1}, 1, 10) && !read({11 << 1, 1}, 1, 10) && !read({9 << 1, 1}, 1, 10), "a run of as many as there are");
  expect(!read({10 << 1, 1, 0}, 1, 10) && !read({0, 1}, 1, 1) && !read({1}, 1, 1), "nothing behind it, and no runs of none");
  expect(read({4 << 1 | 1, 1, 2, 3, 4}, 1, 10) && !read({4 << 1 | 1, 1, 2, 3}, 1, 10), "groups beyond, which are all there");
  expect(!read({0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0}, 1, 10) && read({}, 3, 0) && !read({0}, 3, 0), "2^63 groups");
}

void a_block_announces_what_it_can_hold() {
  const auto announced = [](uint64_t num_bytes, size_t stored) {
    Bytes bytes;
    put_varint(&bytes, num_bytes);
    bytes.resize(stored);
    const Exact exact(bytes);
    uint64_t found = 0;
    return unsnappy_bytes(exact.range(), &found) && found == num_bytes;
  };
  expect(announced(64, 1 + 3) && announced(0, 1) && !announced(uint64_t{1} << 60, 100) && !announced(1000, 10), "what a block can hold");
}

}  // namespace

int main() {
  chunks_are_found();
  damaged_footers_give_places_that_are_some();
  structs_and_lists_in_each_other_end();
  runs_of_bits_end_with_their_bytes();
  a_block_announces_what_it_can_hold();
  std::puts("chunks: ok");
}
