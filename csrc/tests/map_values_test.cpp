// Chains of map_values over columns of every source, on exact copies on the heap, under AddressSanitizer and UBSan.
#include "core/map_values.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace {

using namespace sparrow;

void expect(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "FAILED: %s\n", what);
  std::exit(1);
}

Step step_of(StepCode code, int64_t a = 0, int64_t b = 0, int64_t c = 0, const int64_t* table = nullptr, uint64_t divisor = 1,
             uint64_t prime = 1) {
  return {code, {a, b, c}, table, UnsignedMod(divisor), UnsignedMod(prime)};
}
uint64_t hash_of(HashCode code, const uint8_t* bytes, uint64_t num_bytes) {
  if (code == HashCode::kFarm) return farm::fingerprint(bytes, num_bytes);
  return code == HashCode::kMurmur ? murmur::hash(bytes, num_bytes) : xx::hash(bytes, num_bytes);
}
int64_t bits(double number) { return std::bit_cast<int64_t>(number); }

// Runs a chain of `num_outputs` in blocks of its own size; what it reads and writes ends where its array does.
template <typename Out, typename Value>
std::vector<Out> outputs_of(Source source, const std::vector<Value>& values, const std::vector<int64_t>& offsets, std::vector<Step> steps,
                            ColumnType type, Counts* counts) {
  const auto held = std::make_unique<Value[]>(values.size());
  std::copy(values.begin(), values.end(), held.get());
  const auto cuts = std::make_unique<int64_t[]>(offsets.size());
  std::copy(offsets.begin(), offsets.end(), cuts.get());
  const auto num_values = static_cast<int64_t>(values.size());
  const int64_t num_outputs = source == Source::kValues ? num_values : static_cast<int64_t>(offsets.size()) - 1;
  const auto out = std::make_unique<Out[]>(num_outputs);
  ChainOf chain{source, held.get(), cuts.get(), num_values, std::move(steps), type, out.get(), num_outputs};
  chain.streams = type == ColumnType::kInt64 && num_outputs % 2 == 1;
  const auto block = std::make_unique<Block>();
  *counts = {};
  for (int64_t first = 0; first < num_outputs; first += kMapBlock)
    counts->add(block->run<Value>(chain, first, std::min(kMapBlock, num_outputs - first)));
  return {out.get(), out.get() + num_outputs};
}

void numbers_pass_through_all_steps() {
  Counts counts;
  for (const int64_t size : {0, 1, 7, 1024, 1025, 5000}) {
    std::vector<float> values;
    for (int64_t i = 0; i < size; ++i) values.push_back(i % 11 == 3 ? NAN : static_cast<float>(i - 5));
    const std::vector<Step> steps{step_of(StepCode::kFinite, 1),
                                  step_of(StepCode::kFill, bits(2.0)),
                                  step_of(StepCode::kClip, bits(-2.0), bits(1e3)),
                                  step_of(StepCode::kZScore, bits(1.0), bits(0.5)),
                                  step_of(StepCode::kMinMax, bits(0.0), bits(2.0)),
                                  step_of(StepCode::kCast, 0)};
    const auto out = outputs_of<int64_t>(Source::kValues, values, {}, steps, ColumnType::kInt64, &counts);
    int64_t num_nans = 0;
    for (int64_t i = 0; i < size; ++i) {
      num_nans += values[i] != values[i];
      const double filled = values[i] != values[i] ? 2.0 : values[i];
      expect(out[i] == static_cast<int64_t>(std::min(std::max(filled, -2.0), 1e3) - 1.0), "arithmetic");
    }
    expect(counts.not_finite == num_nans && counts.refused == num_nans, "NaN is counted and refused");
    expect(counts.first_refused == (size > 3 ? 3 : -1) && counts.refused_by == (size > 3 ? 0 : -1), "the first refused");
  }
}

// Remainders and quotients at the ends of what float64 holds, of blocks of small ids and of any; streamed and not.
void divisions() {
  Counts counts;
  for (const uint64_t divisor : {uint64_t{1}, uint64_t{2}, uint64_t{3}, uint64_t{1000003}, (uint64_t{1} << 32) - 5, (uint64_t{1} << 51) - 1,
                                 (uint64_t{1} << 53) + 1, uint64_t{INT64_MAX}}) {
    for (const bool small : {true, false}) {
      for (const int64_t size : {0, 1, 7, 8, 1024, 1031, 3000}) {
        std::vector<int64_t> ids;
        for (int64_t i = 0; i < size; ++i) {
          const uint64_t word = murmur::hash_word(static_cast<uint64_t>(i)),
                         multiple = word / divisor * divisor + static_cast<uint64_t>(i % 3) - 1;
          const uint64_t id = i % 5 == 0 ? UnsignedMod::kSmall - 1 - static_cast<uint64_t>(i) : multiple;
          ids.push_back(static_cast<int64_t>(small ? id % UnsignedMod::kSmall : id));
        }
        const auto rest = outputs_of<int64_t>(Source::kValues, ids, {}, {step_of(StepCode::kMod, 0, 0, 0, nullptr, divisor)},
                                              ColumnType::kInt64, &counts);
        const auto quotient = outputs_of<int64_t>(Source::kValues, ids, {}, {step_of(StepCode::kQuotient, 0, 0, 0, nullptr, divisor)},
                                                  ColumnType::kInt64, &counts);
        for (int64_t i = 0; i < size; ++i) {
          expect(static_cast<uint64_t>(rest[i]) == static_cast<uint64_t>(ids[i]) % divisor, "a remainder");
          expect(static_cast<uint64_t>(quotient[i]) == static_cast<uint64_t>(ids[i]) / divisor, "a quotient");
        }
      }
    }
  }
}

// What is streamed may begin and end anywhere in a line, and nothing beside it is written.
void streams_of_any_size() {
  for (int64_t begin = 0; begin < 17; ++begin) {
    for (const int64_t size : {0, 1, 7, 8, 9, 40, 1024}) {
      std::vector<int64_t> from(size, 5), to(begin + size + 3, -1);
      stream_out(to.data() + begin, from.data(), 8 * size);
      end_of_stream();
      for (int64_t i = 0; i < static_cast<int64_t>(to.size()); ++i)
        expect(to[i] == (i >= begin && i < begin + size ? 5 : -1), "what is streamed, and nothing else");
    }
  }
}

void logarithms_of_ends() {
  for (const double x : {0.0, -1.0, 0x1p-1074, 0x1p-1022, 0.5, 1.0, 1e300, 0x1.fffffffffffffp1023}) {
    expect(x > 0 ? std::abs(log_number(x) - std::log(x)) <= 1e-13 : !(log_number(x) > -1e300), "log");
    expect(std::abs(log1p_number(x) - std::log1p(std::max(x, 0.0))) <= 1e-13, "log1p");
  }
  expect(std::isnan(log_number(NAN)) && std::isnan(log1p_number(NAN)), "NaN stays");
}

void strings_of_any_length() {
  Counts counts;
  const std::vector<std::string> keys{"a", "", "longer than eight bytes"};
  std::vector<int64_t> table{3, 8, 4 + 4 * 8, 0};
  std::vector<std::array<int64_t, 4>> slots(8, {-1, -1, -1, -1});
  std::string text;
  for (size_t i = 0; i < keys.size(); ++i) {
    const uint64_t hash = farm::fingerprint(reinterpret_cast<const uint8_t*>(keys[i].data()), keys[i].size());
    size_t slot = hash & 7;
    while (slots[slot][1] >= 0) slot = (slot + 1) & 7;
    slots[slot] = {static_cast<int64_t>(hash), static_cast<int64_t>(i), static_cast<int64_t>(text.size()),
                   static_cast<int64_t>(keys[i].size())};
    text += keys[i];
  }
  for (const auto& slot : slots) table.insert(table.end(), slot.begin(), slot.end());
  text.resize((text.size() + 7) / 8 * 8);
  for (size_t at = 0; at < text.size(); at += 8) {
    int64_t word;
    std::memcpy(&word, text.data() + at, 8);
    table.push_back(word);
  }
  expect(BytesVocabulary::fits(table.data(), static_cast<int64_t>(table.size())), "a vocabulary");
  for (const int64_t longest : {3, 7, 16, 20, 70, 200}) {
    std::vector<uint8_t> bytes;
    std::vector<int64_t> offsets{0};
    for (int64_t i = 0; i < 2100; ++i) {
      const std::string known = keys[i % 3];
      for (int64_t k = 0; i % 5 != 0 && k < i * 7919 % (longest + 1); ++k) bytes.push_back(static_cast<uint8_t>(i + k));
      if (i % 5 == 0) bytes.insert(bytes.end(), known.begin(), known.end());
      offsets.push_back(static_cast<int64_t>(bytes.size()));
    }
    for (const auto code : {HashCode::kFarm, HashCode::kMurmur, HashCode::kXx}) {
      const auto out = outputs_of<int64_t>(Source::kBytes, bytes, offsets, {step_of(StepCode::kHashBytes, static_cast<int64_t>(code))},
                                           ColumnType::kInt64, &counts);
      for (size_t i = 0; i + 1 < offsets.size(); ++i)
        expect(static_cast<uint64_t>(out[i]) == hash_of(code, bytes.data() + offsets[i], offsets[i + 1] - offsets[i]), "a hash");
    }
    const auto out = outputs_of<int64_t>(Source::kBytes, bytes, offsets, {step_of(StepCode::kVocabularyOfBytes, 0, 1, 9, table.data(), 9)},
                                         ColumnType::kInt64, &counts);
    for (int64_t i = 0; i < 2100; i += 5) expect(out[i] == i % 3, "a known string");
    for (size_t i = 0; i + 1 < offsets.size(); ++i) expect(out[i] >= 0 && out[i] < 12, "an index or a bucket beyond");
  }
}

void rows_and_ids() {
  Counts counts;
  const std::vector<int32_t> values{4, 5, 6, 7};
  const auto out =
      outputs_of<int64_t>(Source::kRows, values, {0, 1, 1, 3, 4}, {step_of(StepCode::kFill, bits(9.0), 9)}, ColumnType::kInt64, &counts);
  expect(out[0] == 4 && out[1] == 9 && out[3] == 7, "rows");
  expect(counts.refused == 1 && counts.first_refused == 2 && counts.refused_by == 0, "a row of two");
  const std::vector<int64_t> ends{INT64_MIN, -1, 0, 1, INT64_MAX};
  const auto hashed = outputs_of<int64_t>(
      Source::kValues, ends, {},
      {step_of(StepCode::kMultiHash, INT64_MIN, (int64_t{1} << 62) - 57, 1000, nullptr, 1000, (uint64_t{1} << 62) - 57)},
      ColumnType::kInt64, &counts);
  for (const int64_t one : hashed) expect(one >= 0 && one < 1000, "a bucket");
  const std::vector<double> wild{NAN, 0x1p63, -0x1p63, 1e300, -HUGE_VAL, 0.5, -3};
  const auto whole = outputs_of<int64_t>(Source::kValues, wild, {}, {step_of(StepCode::kCast, 0)}, ColumnType::kInt64, &counts);
  expect(whole == std::vector<int64_t>({0, 0, INT64_MIN, 0, 0, 0, -3}) && counts.refused == 5, "whole numbers");
  outputs_of<float>(Source::kValues, wild, {}, {step_of(StepCode::kCast, 1)}, ColumnType::kFloat32, &counts);
  expect(counts.refused == 1 && counts.first_refused == 3, "too large for float32");
  const int64_t vocabulary[] = {1, 2, 0, 0, 5, -1, 5, 0};
  for (const int64_t slot : {0, 1}) {
    int64_t table[] = {1, 2, 0, 0, 0, -1, 0, -1};
    std::copy(vocabulary + 6, vocabulary + 8, table + 4 + 2 * slot);
    expect(IntVocabulary::fits(table, 8), "a vocabulary of integers");
    if ((mix(5, 0) & 1) == static_cast<uint64_t>(slot)) expect(IntVocabulary(table).find(5) == 0, "a known integer");
    expect(IntVocabulary(table).find(6) == -1, "an unknown integer");
  }
}

}  // namespace

int main() {
  numbers_pass_through_all_steps();
  divisions();
  streams_of_any_size();
  logarithms_of_ends();
  strings_of_any_length();
  rows_and_ids();
  std::puts("map_values_test: ok");
}
