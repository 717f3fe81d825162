// Columns from Arrow and rows of lists against plain loops, on exact copies of the memory, under AddressSanitizer and UBSan.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "core/pack_lists.h"
#include "core/unpack_arrow.h"

namespace {

using namespace sparrow;

void expect(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "FAILED: %s\n", what);
  std::exit(1);
}

// Any offsets at all: only those that never decrease and stay inside are good, and nothing is read or written beyond its end.
template <typename Offset>
void offsets_are_widened_or_refused() {
  std::mt19937_64 random(1);
  for (int round = 0; round < 20000; ++round) {
    const int64_t rows = random() % 9, num_values = random() % 20;
    auto raw = std::make_unique<Offset[]>(rows + 1);
    const bool is_wild = round % 3 == 0;
    Offset last = static_cast<Offset>(random() % 4);
    for (int64_t i = 0; i <= rows; ++i) {
      raw[i] = is_wild ? static_cast<Offset>(random()) : last;
      last = static_cast<Offset>(last + random() % 3);
    }
    bool is_good = raw[0] >= 0 && raw[rows] <= num_values;
    for (int64_t i = 0; i < rows; ++i) is_good &= raw[i] <= raw[i + 1];
    auto out = std::make_unique<int64_t[]>(rows + 1);
    expect(widen_offsets(raw.get(), rows, num_values, out.get()) == is_good, "offsets are judged right");
    for (int64_t i = 0; is_good && i <= rows; ++i) expect(out[i] == int64_t{raw[i]} - raw[0], "offsets begin at 0");
  }
}

void null_lists_hide_nothing() {
  const int64_t offsets[] = {0, 0, 2, 2};
  const uint8_t middle_is_there[] = {0b010}, middle_is_null[] = {0b1010};
  expect(nulls_are_empty(middle_is_there, 0, 3, offsets), "the first and the last are null and empty");
  expect(!nulls_are_empty(middle_is_null, 1, 3, offsets), "the middle is null and has elements");
  expect(nulls_are_empty(nullptr, 0, 3, offsets), "without bits none is null");
}

template <typename To, typename From>
void fits(From value, bool expected) {
  To out;
  expect(convert(value, &out) == expected, "a value fits or does not");
  if (expected && !(value != value))
    expect(static_cast<long double>(out) == static_cast<long double>(static_cast<To>(value)), "a value is kept");
}

void values_are_converted_exactly_or_refused() {
  constexpr double kInfinity = std::numeric_limits<double>::infinity(), kNan = std::numeric_limits<double>::quiet_NaN();
  fits<float>(int64_t{1} << 24, true);
  fits<float>((int64_t{1} << 24) + 1, false);
  fits<float>(-(int64_t{1} << 24), true);
  fits<double>((int64_t{1} << 53) + 1, false);
  fits<float>(1e300, false);
  fits<float>(kInfinity, true);
  fits<float>(kNan, true);
  fits<int64_t>(kNan, false);
  fits<int64_t>(kInfinity, false);
  fits<int64_t>(0x1p63, false);
  fits<int64_t>(-0x1p63, true);
  fits<int32_t>(2147483647.0, true);
  fits<int32_t>(2147483648.0, false);
  fits<int32_t>(0.5, false);
  fits<int32_t>(int64_t{1} << 31, false);
  fits<int32_t>(-(int64_t{1} << 31), true);
}

void dense_columns_are_filled() {
  std::mt19937_64 random(2);
  for (int round = 0; round < 20000; ++round) {
    const int64_t rows = random() % 12;
    const bool has_default = random() % 2, has_longer = random() % 8 == 0;
    auto offsets = std::make_unique<int64_t[]>(rows + 1);
    for (int64_t i = 0; i < rows; ++i) offsets[i + 1] = offsets[i] + (random() % 3 != 0) + (has_longer && random() % 4 == 0);
    auto values = std::make_unique<double[]>(offsets[rows]);
    const bool has_wrong = random() % 4 == 0;
    for (int64_t i = 0; i < offsets[rows]; ++i) values[i] = has_wrong && random() % 3 == 0 ? 1e300 : static_cast<double>(random() % 100);
    auto out = std::make_unique<float[]>(rows), scratch = std::make_unique<float[]>(rows);
    const float fallback = -1;
    bool is_good = true;
    std::vector<float> expected;
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t length = offsets[i + 1] - offsets[i];
      is_good &= length == 1 ? values[offsets[i]] < 1e300 : length == 0 && has_default;
      expected.push_back(length == 1 ? static_cast<float>(values[offsets[i]]) : fallback);
    }
    const bool got = fill_lists(values.get(), offsets.get(), rows, has_default ? &fallback : nullptr, scratch.get(), out.get());
    expect(got == is_good, "a dense column of lists is judged right");
    for (int64_t i = 0; is_good && i < rows; ++i) expect(out[i] == expected[i], "a dense column of lists is filled");

    auto flat = std::make_unique<int64_t[]>(rows);
    auto bits = std::make_unique<uint8_t[]>((rows + 3 + 7) / 8);
    for (int64_t i = 0; i < (rows + 3 + 7) / 8; ++i) bits[i] = static_cast<uint8_t>(random());
    for (int64_t i = 0; i < rows; ++i) flat[i] = static_cast<int64_t>(random() % 1000);
    bool any_null = false;
    for (int64_t i = 0; i < rows; ++i) any_null |= is_null(bits.get(), i + 3);
    expect(fill_flat(flat.get(), bits.get(), 3, rows, has_default ? &fallback : nullptr, out.get()) == (has_default || !any_null), "nulls");
    for (int64_t i = 0; has_default && i < rows; ++i)
      expect(out[i] == (is_null(bits.get(), i + 3) ? fallback : static_cast<float>(flat[i])), "a flat column is filled");
  }
}

void rows_of_lists_are_packed() {
  std::mt19937_64 random(3);
  for (int round = 0; round < 5000; ++round) {
    const int64_t num_parts = 1 + random() % 3, item_bytes = int64_t{1} << random() % 4;
    std::vector<std::unique_ptr<int64_t[]>> offsets;
    std::vector<std::unique_ptr<char[]>> values;
    std::vector<ListPart> parts;
    std::vector<int64_t> num_rows;
    for (int64_t part = 0; part < num_parts; ++part) {
      num_rows.push_back(random() % 6);
      offsets.push_back(std::make_unique<int64_t[]>(num_rows[part] + 1));
      for (int64_t i = 0; i < num_rows[part]; ++i) offsets[part][i + 1] = offsets[part][i] + random() % (round % 2 ? 3 : 30);
      const int64_t count = offsets[part][num_rows[part]];
      values.push_back(std::make_unique<char[]>(count * item_bytes));
      for (int64_t i = 0; i < count * item_bytes; ++i) values[part][i] = static_cast<char>(random());
      parts.push_back({offsets[part].get(), values[part].get(), count});
    }
    std::vector<RowRun> runs;
    std::vector<char> expected;
    std::vector<int64_t> bounds = {0};
    for (uint64_t run = random() % 5; run > 0; --run) {
      const int64_t part = random() % num_parts, begin = random() % (num_rows[part] + 1),
                    end = begin + random() % (num_rows[part] - begin + 1);
      runs.push_back({part, begin, end});
      for (int64_t row = begin; row < end; ++row) {
        const int64_t first = offsets[part][row] * item_bytes, last = offsets[part][row + 1] * item_bytes;
        expected.insert(expected.end(), values[part].get() + first, values[part].get() + last);
        bounds.push_back(static_cast<int64_t>(expected.size()) / item_bytes);
      }
    }
    auto out_offsets = std::make_unique<int64_t[]>(bounds.size());
    expect(pack_offsets(parts.data(), runs, out_offsets.get()) == bounds.back(), "the number of values");
    for (size_t i = 0; i < bounds.size(); ++i) expect(out_offsets[i] == bounds[i], "offsets are packed");
    auto out = std::make_unique<char[]>(expected.size());
    switch (item_bytes) {
      case 1: pack_values(parts.data(), runs, bounds.back(), reinterpret_cast<uint8_t*>(out.get())); break;
      case 2: pack_values(parts.data(), runs, bounds.back(), reinterpret_cast<uint16_t*>(out.get())); break;
      case 4: pack_values(parts.data(), runs, bounds.back(), reinterpret_cast<uint32_t*>(out.get())); break;
      default: pack_values(parts.data(), runs, bounds.back(), reinterpret_cast<uint64_t*>(out.get()));
    }
    for (size_t i = 0; i < expected.size(); ++i) expect(out[i] == expected[i], "values are packed");
  }
  const int64_t wild[] = {0, INT64_MIN, 3};
  const ListPart part{wild, nullptr, 3};
  int64_t out[3];
  expect(pack_offsets(&part, {{0, 0, 2}}, out) == -1, "offsets that decrease are refused");
}

void released(ArrowArray* array) { ++*static_cast<int*>(array->private_data); }

void an_array_is_released_with_its_last_owner() {
  int count = 0;
  ArrowArray array{};
  array.release = released;
  array.private_data = &count;
  auto* shared = new SharedArray(&array);
  expect(array.release == nullptr, "the array is taken over");
  shared->share();
  shared->let_go();
  expect(count == 0, "not yet");
  shared->let_go();
  expect(count == 1, "with the last, once");
}

}  // namespace

int main() {
  offsets_are_widened_or_refused<int32_t>();
  offsets_are_widened_or_refused<int64_t>();
  null_lists_hide_nothing();
  values_are_converted_exactly_or_refused();
  dense_columns_are_filled();
  rows_of_lists_are_packed();
  an_array_is_released_with_its_last_owner();
  std::puts("columns: ok");
}
