// The id map's kernels against std::unordered_map, under AddressSanitizer and UBSan.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <unordered_map>
#include <vector>

#include "core/erase.h"
#include "core/find.h"
#include "core/find_or_insert.h"
#include "core/insert_owners.h"
#include "core/rehash.h"

namespace {

using namespace sparrow;

void expect(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "FAILED: %s\n", what);
  std::exit(1);
}

// One table of 2^range_bits ranges of equal size.
struct Map {
  std::vector<Line> lines;
  TableHeader header;
  std::vector<Range> ranges;

  Map(int64_t num_lines, int64_t range_bits, int64_t salt)
      : lines(num_lines << range_bits), header{0, range_bits, salt, kNoRow, 0, int64_t{1} << 32, {}} {
    auto* words = reinterpret_cast<int64_t*>(lines.data());
    std::fill(words, words + lines.size() * kWordsPerLine, kEmpty);
    for (int64_t range = 0; range < int64_t{1} << range_bits; ++range) ranges.push_back({range * num_lines, num_lines, 0, 0});
  }
  IdMap view() { return {lines.data(), &header, ranges.data()}; }
};

// Calls find_or_insert, or its divided twin, and returns the positions of new ids.
std::vector<int32_t> insert(Map& map, RowCounters& counters, const std::vector<int32_t>& free_rows, const std::vector<int64_t>& ids,
                            std::vector<int32_t>& rows, int64_t num_owners) {
  const int64_t offsets[2] = {0, static_cast<int64_t>(ids.size())};
  const Ids in{ids.data(), offsets};
  std::vector<int32_t> new_positions(ids.size());
  if (num_owners == 1) {
    new_positions.resize(find_or_insert(map.view(), in, 1, 0, offsets[1], counters, free_rows.data(), rows.data(), new_positions.data()));
    return new_positions;
  }
  OwnedInsert work(map.view(), in, 1, counters, free_rows.data(), rows.data(), new_positions.data(), num_owners);
  constexpr int64_t kBatch = 37;  // several batches, and pieces of few ids
  for (int64_t first = 0; first < offsets[1]; first += kBatch) {
    work.start(first, std::min(first + kBatch, offsets[1]));
    for (int64_t part = 0; part < num_owners; ++part) work.sort(part);
    for (int64_t part = num_owners - 1; part >= 0; --part) work.insert(part);
    counters.num_failed += work.num_failed();
    work.count();
    for (int64_t part = 0; part < num_owners; ++part) work.number(part);
    for (int64_t part = 0; part < num_owners; ++part) work.publish(part);
  }
  take_rows(counters, work.num_new());
  new_positions.resize(work.num_new());
  return new_positions;
}

// Ids that break weak maps: few distinct, equal low bits, equal high bits, the ends of the range.
int64_t adversarial_id(std::mt19937_64& random) {
  switch (random() % 5) {
    case 0: return static_cast<int64_t>(random() % 50);
    case 1: return static_cast<int64_t>((random() % 200) << 40);
    case 2: return static_cast<int64_t>(0xffffffff00000000ULL + random() % 200);
    case 3: return std::vector<int64_t>{0, -1, INT64_MIN, INT64_MAX, INT64_MIN + 1}[random() % 5];
    default: return static_cast<int64_t>(random());
  }
}

void rows_are_those_of_a_dict(uint64_t seed) {
  std::mt19937_64 random(seed);
  const int64_t num_owners = std::vector<int64_t>{1, 1, 2, 3, 16}[seed % 5];
  Map map(600, static_cast<int64_t>(seed % 3 * 2), static_cast<int64_t>(random()));
  RowCounters counters{0, 0, 0, 0};
  std::vector<int32_t> free_rows;
  int32_t num_rows = 0;
  std::unordered_map<int64_t, int32_t> known;
  for (int round = 0; round < 8; ++round) {
    std::vector<int64_t> ids(random() % 100);
    for (int64_t& id : ids) id = adversarial_id(random);
    std::vector<int32_t> rows(ids.size()), expected_new;
    const std::vector<int32_t> before = free_rows;
    for (size_t i = 0; i < ids.size(); ++i) {
      if (known.count(ids[i])) continue;
      known[ids[i]] = free_rows.empty() ? num_rows++ : free_rows.back();
      if (!free_rows.empty()) free_rows.pop_back();
      expected_new.push_back(static_cast<int32_t>(i));
    }
    const auto new_positions = insert(map, counters, before, ids, rows, num_owners);
    expect(new_positions == expected_new, "new positions are in input order");
    for (size_t i = 0; i < ids.size(); ++i) expect(rows[i] == known[ids[i]], "an id has its row");
    expect(counters.num_rows == num_rows && counters.num_free == static_cast<int64_t>(free_rows.size()), "rows are counted");
    const int64_t offsets[2] = {0, static_cast<int64_t>(ids.size())};
    std::vector<int32_t> found(ids.size());
    find(map.view(), {ids.data(), offsets}, 1, 0, offsets[1], found.data());
    expect(found == rows, "find agrees with find_or_insert");
    ids.resize(ids.size() / 2);
    const int64_t half[2] = {0, static_cast<int64_t>(ids.size())};
    std::vector<int32_t> erased(ids.size());
    erase(map.view(), {ids.data(), half}, 1, erased.data());
    for (size_t i = 0; i < ids.size(); ++i) {
      expect(erased[i] == (known.count(ids[i]) ? known[ids[i]] : kNoRow), "erase returns the row");
      if (known.erase(ids[i])) free_rows.push_back(erased[i]);
    }
    counters.num_free = static_cast<int64_t>(free_rows.size());
  }
  Map larger(700, map.header.range_bits, map.header.salt);
  RehashScratch living;
  for (size_t range = 0; range < map.ranges.size(); ++range) {
    living.start(map.ranges[range].num_lines * kIdsPerLine);
    living.append(map.lines.data(), map.ranges[range]);
    place(larger.view(), larger.header, larger.ranges[range], living, 0, living.num_living);
  }
  larger.header.side_row = map.header.side_row;
  const int64_t one[2] = {0, 1};
  for (const auto& [id, row] : known) {
    int32_t found = kNoRow;
    find(larger.view(), {&id, one}, 1, 0, 1, &found);
    expect(found == row, "rows survive a rehash");
  }
}

void a_full_range_loses_no_id(uint64_t seed) {
  std::mt19937_64 random(seed);
  Map map(3, 0, 1);
  RowCounters counters{0, 0, 0, 0};
  std::vector<int64_t> ids(20);
  for (int64_t& id : ids) id = static_cast<int64_t>(random() | 1);
  std::vector<int32_t> rows(ids.size());
  insert(map, counters, {}, ids, rows, seed % 2 + 1);
  expect(counters.num_rows == 15 && counters.num_failed == 5, "every slot is used, every id without room is counted");
}

}  // namespace

int main() {
  for (uint64_t seed = 0; seed < 300; ++seed) rows_are_those_of_a_dict(seed);
  for (uint64_t seed = 0; seed < 50; ++seed) a_full_range_loses_no_id(seed);
  std::puts("id_map_test: ok");
}
