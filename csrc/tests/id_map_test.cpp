// The id map's kernels against std::unordered_map, under AddressSanitizer and UBSan.
#include <cstdio>
#include <cstdlib>
#include <random>
#include <unordered_map>
#include <vector>

#include "core/find.h"
#include "core/find_or_insert.h"
#include "core/rehash.h"

namespace {

using namespace sparrow;

void expect(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "FAILED: %s\n", what);
  std::exit(1);
}

struct Map {
  std::vector<Line> lines;
  SegmentHeader header;

  Map(int64_t num_lines, int64_t salt) : lines(num_lines), header{0, num_lines, 0, 0, salt, kNoRow, num_lines * kIdsPerLine, 0} {
    for (Line& line : lines)
      for (int64_t& id : line.ids) id = kEmpty;
  }
};

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
  Map map(200, static_cast<int64_t>(random()));
  RowCounters counters{0, 0};
  std::unordered_map<int64_t, int32_t> known;
  for (int round = 0; round < 8; ++round) {
    std::vector<int64_t> ids(random() % 100);
    for (int64_t& id : ids) id = adversarial_id(random);
    std::vector<int32_t> rows(ids.size()), new_positions(ids.size());
    const int64_t num_new =
        find_or_insert(map.lines.data(), map.header, counters, ids.data(), ids.size(), 0, rows.data(), new_positions.data());
    int64_t expected_new = 0;
    for (size_t i = 0; i < ids.size(); ++i) {
      const auto [entry, is_new] = known.try_emplace(ids[i], static_cast<int32_t>(known.size()));
      expected_new += is_new;
      expect(rows[i] == entry->second, "an id keeps its row");
    }
    expect(num_new == expected_new, "new rows are counted");
    std::vector<int32_t> found(ids.size());
    find(map.lines.data(), map.header, ids.data(), ids.size(), found.data());
    expect(found == rows, "find agrees with find_or_insert");
  }
  Map larger(400, map.header.salt);
  rehash(map.lines.data(), map.header, larger.lines.data(), larger.header);
  for (const auto& [id, row] : known) {
    int32_t found = kNoRow;
    find(larger.lines.data(), larger.header, &id, 1, &found);
    expect(found == row, "rows survive a rehash");
  }
}

void a_full_segment_loses_no_id(uint64_t seed) {
  std::mt19937_64 random(seed);
  Map map(3, 1);
  RowCounters counters{0, 0};
  std::vector<int64_t> ids(20);
  for (int64_t& id : ids) id = static_cast<int64_t>(random() | 1);
  std::vector<int32_t> rows(ids.size()), new_positions(ids.size());
  find_or_insert(map.lines.data(), map.header, counters, ids.data(), ids.size(), 0, rows.data(), new_positions.data());
  expect(counters.num_rows == 15 && counters.num_failed == 5, "every slot is used, every id without room is counted");
}

}  // namespace

int main() {
  for (uint64_t seed = 0; seed < 300; ++seed) rows_are_those_of_a_dict(seed);
  for (uint64_t seed = 0; seed < 50; ++seed) a_full_segment_loses_no_id(seed);
  std::puts("id_map_test: ok");
}
