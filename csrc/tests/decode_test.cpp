// Decoders of Parquet and ORC against plain loops and the examples of the ORC specification, and on damaged bytes, all on exact copies of
// the memory, under AddressSanitizer and UBSan.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <vector>

#include "core/cut_rows.h"
#include "core/decode_orc.h"
#include "core/decode_parquet.h"
#include "core/made_array.h"
#include "tests/exact.h"

namespace {

using namespace sparrow;

void put_varint(Bytes* out, uint64_t value) {
  for (; value >= 128; value >>= 7) out->push_back(static_cast<uint8_t>(value) | 128);
  out->push_back(static_cast<uint8_t>(value));
}

Bytes random_bytes(std::mt19937_64* random, size_t count) {
  Bytes out(count);
  for (uint8_t& byte : out) byte = static_cast<uint8_t>((*random)());
  return out;
}

Bytes damaged(std::mt19937_64* random, Bytes bytes) {
  for (uint64_t i = (*random)() % 4; i > 0 && !bytes.empty(); --i) bytes[(*random)() % bytes.size()] = static_cast<uint8_t>((*random)());
  // A byte more or less by one, a piece that is missing, one that is there twice, an end that is missing.
  const auto at = [&] { return (*random)() % bytes.size(); };
  if (!bytes.empty() && (*random)() % 4 == 0) bytes[at()] += (*random)() % 2 == 0 ? 1 : 255;
  if (!bytes.empty() && (*random)() % 4 == 0) {
    const size_t begin = at(), end = std::min(bytes.size(), begin + 1 + (*random)() % 8);
    const Bytes piece(bytes.begin() + begin, bytes.begin() + end);
    if ((*random)() % 2 == 0) {
      bytes.erase(bytes.begin() + begin, bytes.begin() + end);
    } else {
      bytes.insert(bytes.begin() + at(), piece.begin(), piece.end());
    }
  }
  if ((*random)() % 4 == 0) bytes.resize((*random)() % (bytes.size() + 1));
  return bytes;
}

// Runs of one number and groups of eight, as a writer mixes them.
Bytes bit_runs_of(std::mt19937_64* random, const std::vector<uint32_t>& values, int width) {
  Bytes out;
  for (size_t i = 0; i < values.size();) {
    size_t run = 1;
    while (i + run < values.size() && values[i + run] == values[i]) ++run;
    if (run >= 3 && (*random)() % 2 == 0) {
      put_varint(&out, run << 1);
      for (int byte = 0; byte < (width + 7) / 8; ++byte) out.push_back(static_cast<uint8_t>(values[i] >> (8 * byte)));
      i += run;
      continue;
    }
    const size_t groups = 1 + (*random)() % 3;
    put_varint(&out, groups << 1 | 1);
    Bytes packed(groups * width, 0);
    for (size_t k = 0; k < groups * 8 && i < values.size(); ++k, ++i)
      for (int bit = 0; bit < width; ++bit) packed[(k * width + bit) / 8] |= (values[i] >> bit & 1) << ((k * width + bit) % 8);
    out.insert(out.end(), packed.begin(), packed.end());
  }
  return out;
}

void numbers_of_a_few_bits_are_read() {
  std::mt19937_64 random(1);
  for (int round = 0; round < 20000; ++round) {
    const int width = random() % 33;
    std::vector<uint32_t> values(random() % 60);
    for (uint32_t& value : values) value = static_cast<uint32_t>((random() % 3 == 0 ? random() : 0) & ((uint64_t{1} << width) - 1));
    const Bytes bytes = bit_runs_of(&random, values, width);
    std::vector<uint32_t> out(values.size());
    const Exact exact(bytes), broken(damaged(&random, bytes)), wild(random_bytes(&random, random() % 30));
    expect(read_bit_runs(exact.range(), width, values.size(), out.data()) && out == values, "runs are read");
    read_bit_runs(broken.range(), width, values.size(), out.data());
    read_bit_runs(wild.range(), width, values.size(), out.data());
  }
}

void snappy_blocks_are_read() {
  std::mt19937_64 random(2);
  for (int round = 0; round < 20000; ++round) {
    Bytes plain, body;
    for (uint64_t part = random() % 6; part > 0; --part) {
      const size_t length = random() % 3 == 0 ? 1 + random() % 300 : 1 + random() % 20;
      if (plain.empty() || random() % 2 == 0) {
        const Bytes literal = random_bytes(&random, length);
        if (length <= 60) {
          body.push_back(static_cast<uint8_t>((length - 1) << 2));
        } else {
          body.insert(body.end(), {61 << 2, static_cast<uint8_t>(length - 1), static_cast<uint8_t>((length - 1) >> 8)});
        }
        body.insert(body.end(), literal.begin(), literal.end());
        plain.insert(plain.end(), literal.begin(), literal.end());
        continue;
      }
      const size_t offset = 1 + random() % plain.size(), count = 4 + length % 8;
      if (offset < 2048 && random() % 2 == 0) {
        body.insert(body.end(), {static_cast<uint8_t>(offset >> 8 << 5 | (count - 4) << 2 | 1), static_cast<uint8_t>(offset)});
      } else {
        body.insert(body.end(),
                    {static_cast<uint8_t>((count - 1) << 2 | 2), static_cast<uint8_t>(offset), static_cast<uint8_t>(offset >> 8)});
      }
      for (size_t i = 0; i < count; ++i) plain.push_back(plain[plain.size() - offset]);
    }
    Bytes block;
    put_varint(&block, plain.size());
    block.insert(block.end(), body.begin(), body.end());
    const Exact exact(block), broken(damaged(&random, block));
    const auto out = std::make_unique<uint8_t[]>(plain.size());
    expect(unsnappy(exact.range(), out.get(), plain.size()), "a block is read");
    expect(std::equal(plain.begin(), plain.end(), out.get()), "a block is what was packed");
    unsnappy(broken.range(), out.get(), plain.size());
  }
}

void put_i32(Bytes* out, int step, int64_t value) {
  out->push_back(static_cast<uint8_t>(step << 4 | 5));
  put_varint(out, static_cast<uint64_t>(value) << 1 ^ static_cast<uint64_t>(value >> 63));
}

Bytes page_of(int64_t type, const Bytes& body, int64_t num_values, int64_t encoding) {
  Bytes out;
  put_i32(&out, 1, type);
  put_i32(&out, 1, body.size());
  put_i32(&out, 1, body.size());
  out.push_back(static_cast<uint8_t>((type == PageHeader::kDictionary ? 4 : 2) << 4 | 12));
  put_i32(&out, 1, num_values);
  put_i32(&out, 1, encoding);
  if (type == PageHeader::kData) {
    put_i32(&out, 1, 3);
    put_i32(&out, 1, 3);
  }
  out.insert(out.end(), {0, 0});
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

void put_sized(Bytes* out, const Bytes& bytes) {
  for (int byte = 0; byte < 4; ++byte) out->push_back(static_cast<uint8_t>(bytes.size() >> (8 * byte)));
  out->insert(out->end(), bytes.begin(), bytes.end());
}

void put_word(Bytes* out, uint64_t value) {
  for (int byte = 0; byte < 8; ++byte) out->push_back(static_cast<uint8_t>(value >> (8 * byte)));
}

// Lists of numbers, some of them null, in pages by dictionary and plain.
void parquet_chunks_are_decoded() {
  std::mt19937_64 random(3);
  for (int round = 0; round < 20000; ++round) {
    const int64_t num_rows = 1 + random() % 12;
    std::vector<uint32_t> reps, defs, places;
    std::vector<int32_t> offsets = {0};
    std::vector<uint64_t> dictionary(1 + random() % 5), values;
    for (uint64_t& word : dictionary) word = random();
    Bytes chunk, validity((num_rows + 7) / 8, 0), words;
    for (const uint64_t word : dictionary) put_word(&words, word);
    chunk = page_of(PageHeader::kDictionary, words, dictionary.size(), 0);
    const auto flush = [&] {
      const bool is_plain = random() % 2 == 0;
      Bytes body, stored;
      put_sized(&body, bit_runs_of(&random, reps, 1));
      put_sized(&body, bit_runs_of(&random, defs, 2));
      if (!is_plain) stored = bit_runs_of(&random, places, 3), body.push_back(3);
      if (is_plain)
        for (const uint32_t place : places) put_word(&stored, dictionary[place]);
      body.insert(body.end(), stored.begin(), stored.end());
      const Bytes page = page_of(PageHeader::kData, body, reps.size(), is_plain ? 0 : 8);
      chunk.insert(chunk.end(), page.begin(), page.end());
      reps.clear(), defs.clear(), places.clear();
    };
    int64_t num_entries = 0, num_nulls = 0;
    for (int64_t row = 0; row < num_rows; ++row) {
      const int64_t length = random() % 4;
      const bool is_null = length == 0 && random() % 2 == 0;
      num_nulls += is_null;
      if (!is_null) validity[row / 8] |= 1 << row % 8;
      for (int64_t i = 0; i < std::max<int64_t>(length, 1); ++i) {
        reps.push_back(i != 0);
        defs.push_back(length != 0 ? 3 : is_null ? 0 : 1);
        ++num_entries;
        if (length != 0) places.push_back(random() % dictionary.size()), values.push_back(dictionary[places.back()]);
        if (random() % 8 == 0) flush();
      }
      offsets.push_back(static_cast<int32_t>(values.size()));
    }
    if (!reps.empty()) flush();
    const auto decode = [&](const Bytes& bytes, bool must) {
      const Exact exact(bytes);
      const auto got_offsets = std::make_unique<int32_t[]>(num_rows + 1);
      const auto got_validity = std::make_unique<uint8_t[]>((num_rows + 7) / 8), got = std::make_unique<uint8_t[]>(8 * num_entries);
      ParquetScratch scratch;
      ParquetCount count{};
      const ParquetChunk one{exact.range(), ParquetChunk::kPlain, 8, num_entries, true, true, true};
      const bool good = decode_parquet_chunk(one, num_rows, {got_offsets.get(), got_validity.get(), got.get()}, &scratch, &count);
      if (!must) return;
      expect(good && count.num_values == static_cast<int64_t>(values.size()) && count.num_nulls == num_nulls, "a chunk is decoded");
      expect(std::equal(offsets.begin(), offsets.end(), got_offsets.get()), "offsets");
      expect(std::equal(validity.begin(), validity.end(), got_validity.get()), "validity");
      expect(values.empty() || std::memcmp(values.data(), got.get(), 8 * values.size()) == 0, "values");
    };
    decode(chunk, true);
    decode(damaged(&random, chunk), false);
  }
}

void runs_are_those_of_the_specification() {
  const auto read = [](const Bytes& bytes, bool is_signed, const std::vector<uint64_t>& expected) {
    const Exact exact(bytes);
    std::vector<uint64_t> out(expected.size());
    expect(OrcRuns(exact.range(), is_signed).read(expected.size(), out.data()) && out == expected, "an example of the specification");
  };
  read({0x0a, 0x27, 0x10}, false, std::vector<uint64_t>(5, 10000));
  read({0x5e, 0x03, 0x5c, 0xa1, 0xab, 0x1e, 0xde, 0xad, 0xbe, 0xef}, false, {23713, 43806, 57005, 48879});
  read({0x8e, 0x13, 0x2b, 0x21, 0x07, 0xd0, 0x1e, 0x00, 0x14, 0x70, 0x28, 0x32, 0x3c, 0x46,
        0x50, 0x5a, 0x64, 0x6e, 0x78, 0x82, 0x8c, 0x96, 0xa0, 0xaa, 0xb4, 0xbe, 0xfc, 0xe8},
       false, {2030, 2000, 2020, 1000000, 2040, 2050, 2060, 2070, 2080, 2090, 2100, 2110, 2120, 2130, 2140, 2150, 2160, 2170, 2180, 2190});
  read({0xc6, 0x09, 0x02, 0x02, 0x22, 0x42, 0x42, 0x46}, false, {2, 3, 5, 7, 11, 13, 17, 19, 23, 29});
  const Exact repeats({0x61, 0x00}), literals({0xfe, 0x44, 0x45});
  std::vector<uint8_t> bits(800);
  expect(read_present(repeats.range(), 800, bits.data()) && bits == std::vector<uint8_t>(800, 0), "a hundred bytes of zeros");
  expect(read_present(literals.range(), 16, bits.data()) && bits[1] == 1 && bits[0] == 0 && bits[5] == 1 && bits[15] == 1, "two bytes");
}

void wild_runs_are_refused_or_numbers() {
  std::mt19937_64 random(4);
  for (int round = 0; round < 100000; ++round) {
    const int64_t count = random() % 40;
    const Exact wild(random_bytes(&random, random() % 40));
    const auto out = std::make_unique<uint64_t[]>(count);
    OrcRuns(wild.range(), round % 2 == 0).read(count, out.get());
    read_present(wild.range(), count, reinterpret_cast<uint8_t*>(out.get()));
  }
}

void put_message(Bytes* out, int field, const std::vector<uint64_t>& numbers) {
  Bytes inner;
  for (size_t i = 0; i < numbers.size(); ++i) inner.push_back(static_cast<uint8_t>((i + 1) << 3)), put_varint(&inner, numbers[i]);
  out->push_back(static_cast<uint8_t>(field << 3 | 2));
  put_varint(out, inner.size());
  out->insert(out->end(), inner.begin(), inner.end());
}

// A column of lists and one of numbers, both with nulls.
void stripes_are_decoded() {
  // Rows 0..3: [1, 1, 1], null, [], [1]; and 5, 5, null, 5.
  const Bytes parts[] = {{0xff, 0b10110000}, {0x42, 0x02, 0b11000100}, {0x01, 0x02}, {0xff, 0b11010000}, {0x00, 0x0a}};
  Bytes stripe, footer;
  const uint64_t kinds[] = {0, 2, 1, 0, 1}, ids[] = {1, 1, 2, 3, 3};
  put_message(&footer, 1, {6, 1, 10});
  for (int i = 0; i < 5; ++i) {
    stripe.insert(stripe.end(), parts[i].begin(), parts[i].end());
    put_message(&footer, 1, {kinds[i], ids[i], parts[i].size()});
  }
  for (int i = 0; i < 4; ++i) put_message(&footer, 2, {i == 0 ? 0u : 2u});
  stripe.insert(stripe.end(), footer.begin(), footer.end());
  const auto decode = [&](const Bytes& bytes, bool must) {
    const Exact exact(bytes);
    const OrcBytes how{exact.range(), 10, static_cast<int64_t>(footer.size()), OrcCodec::kNone, 0};
    OrcFooter found;
    const bool is_read = read_orc_footer(how, &found);
    expect(is_read || !must, "the footer is read");
    if (!is_read) return;
    OrcScratch scratch;
    OrcDecoder decoder(how, found, 4, &scratch);
    for (const bool is_list : {true, false}) {
      const OrcColumn column{is_list ? 1 : 3, OrcNumber::kInt64, is_list};
      const auto validity = std::make_unique<uint8_t[]>(1);
      const auto offsets = std::make_unique<int32_t[]>(5);
      int64_t num_nulls = 0, num_values = 0;
      const bool is_placed = decoder.place(column, validity.get(), offsets.get(), &num_nulls, &num_values);
      expect(is_placed || !must, "rows are placed");
      if (!is_placed || num_values > 1000) continue;
      const int64_t room = is_list ? num_values : 4;
      const auto values = std::make_unique<int64_t[]>(room);
      const bool is_filled = decoder.fill(column, num_values, reinterpret_cast<uint8_t*>(values.get()));
      expect(is_filled || !must, "numbers are read");
      if (!must) continue;
      const std::vector<int64_t> expected = is_list ? std::vector<int64_t>{1, 1, 1, 1} : std::vector<int64_t>{5, 5, 0, 5};
      const int32_t bounds[] = {0, 3, 3, 3, 4};
      expect(num_nulls == 1 && std::equal(expected.begin(), expected.end(), values.get()) && room == 4, "the numbers");
      expect(validity[0] == (is_list ? 0b1101 : 0b1011), "the rows that are there");
      expect(!is_list || std::equal(bounds, bounds + 5, offsets.get()), "the lists");
    }
  };
  decode(stripe, true);
  std::mt19937_64 random(5);
  for (int round = 0; round < 50000; ++round) {
    Bytes broken = stripe;
    for (uint64_t i = random() % 4; i > 0; --i) broken[random() % broken.size()] = static_cast<uint8_t>(random());
    decode(broken, false);
  }
}

void compressed_streams_are_read_chunk_by_chunk() {
  // "abcd" as it is, then "xyxyxy" by a literal and a copy.
  const Bytes stored = {0x09, 0, 0, 'a', 'b', 'c', 'd', 0x0e, 0, 0, 6, 1 << 2, 'x', 'y', (4 - 4) << 2 | 1, 2};
  const Exact exact([&] {
    Bytes bytes = stored;
    bytes[7] = static_cast<uint8_t>((stored.size() - 10) << 1);
    return bytes;
  }());
  Bytes room;
  ByteRange plain{};
  const OrcBytes how{{}, 0, 0, OrcCodec::kSnappy, 6};
  expect(orc_plain(how, exact.range(), &room, &plain) &&
             Bytes(plain.at, plain.end) == Bytes({'a', 'b', 'c', 'd', 'x', 'y', 'x', 'y', 'x', 'y'}),
         "two chunks");
  const OrcBytes small{{}, 0, 0, OrcCodec::kSnappy, 5};
  expect(!orc_plain(small, exact.range(), &room, &plain), "a chunk is larger than a block");
  std::mt19937_64 random(6);
  for (int round = 0; round < 20000; ++round) {
    const Exact wild(random_bytes(&random, random() % 30));
    orc_plain(how, wild.range(), &room, &plain);
  }
}

void a_made_batch_is_released_once() {
  for (const int64_t num_rows : {int64_t{3}, int64_t{1} << 18}) {
    auto batch = std::make_unique<MadeBatch>();
    batch->reserve(MadeBatch::rounded(8 * num_rows) + MadeBatch::rounded(4 * (num_rows + 1)));
    uint8_t* const values = batch->take(8 * num_rows);
    auto* const offsets = reinterpret_cast<int32_t*>(batch->take(4 * (num_rows + 1)));
    for (int64_t row = 0; row <= num_rows; ++row) offsets[row] = static_cast<int32_t>(row);
    std::memset(values, 1, 8 * num_rows);
    batch->add(num_rows, 0, nullptr, values);
    batch->add_lists(num_rows, 0, nullptr, offsets, num_rows, values);
    ArrowArray array{};
    MadeBatch::hand_over(std::move(batch), num_rows, &array);
    expect(array.n_children == 2 && array.children[1]->children[0]->length == num_rows, "two columns");
    expect(static_cast<const int32_t*>(array.children[1]->buffers[1])[num_rows] == num_rows, "offsets");
    array.release(&array);
    expect(array.release == nullptr, "it is released");
  }
}

void offsets_of_rows_are_cut() {
  const int64_t offsets[] = {0, 2, 2, 5, 6};
  int64_t out[3];
  const ValueRun run = cut_offsets(offsets, 1, 3, 6, out);
  expect(run.begin == 2 && run.end == 5 && out[0] == 0 && out[1] == 0 && out[2] == 3, "rows 1 and 2");
  expect(cut_offsets(offsets, 3, 4, 5, out).end == -1, "they end beyond the values");
}

}  // namespace

int main() {
  numbers_of_a_few_bits_are_read();
  snappy_blocks_are_read();
  parquet_chunks_are_decoded();
  runs_are_those_of_the_specification();
  wild_runs_are_refused_or_numbers();
  stripes_are_decoded();
  compressed_streams_are_read_chunk_by_chunk();
  a_made_batch_is_released_once();
  offsets_of_rows_are_cut();
  std::puts("decode: ok");
}
