// partition_ids against a plain loop over owners, under AddressSanitizer and UBSan.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "core/partition_ids.h"

namespace {

using namespace sparrow;

void expect(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "FAILED: %s\n", what);
  std::exit(1);
}

void check(std::mt19937_64& random, const std::vector<int64_t>& sizes, const std::vector<int64_t>& first_slices) {
  std::vector<int64_t> offsets{0}, salts;
  for (const int64_t size : sizes) {
    offsets.push_back(offsets.back() + size);
    salts.push_back(static_cast<int64_t>(random()));
  }
  const auto num_tables = static_cast<int64_t>(sizes.size()), num_ids = offsets.back();
  const auto num_owners = static_cast<int64_t>(first_slices.size()) - 1;
  std::vector<int64_t> ids(num_ids), owned_ids(num_ids, -7), counts(num_owners * num_tables, -7);
  std::vector<int32_t> order(num_ids, -7), inverse(num_ids, -7);
  for (int64_t& id : ids) id = static_cast<int64_t>(random() % 1000);
  IdColumns columns;  // cut anywhere, some of them empty
  for (int64_t begin = 0, end; begin < num_ids; begin = end) {
    end = std::min<int64_t>(num_ids, begin + static_cast<int64_t>(random() % (num_ids / 2 + 2)));
    columns.add(ids.data() + begin, end - begin);
  }
  Partition partition(columns, offsets.data(), salts.data(), num_tables, Owners{first_slices.data(), num_owners}, inverse.data());
  for (int64_t piece = partition.num_pieces() - 1; piece >= 0; --piece) partition.count(piece);
  partition.sum(counts.data());
  for (int64_t piece = partition.num_pieces() - 1; piece >= 0; --piece) partition.write(piece, owned_ids.data(), order.data());
  int64_t next = 0;
  for (int64_t owner = 0; owner < num_owners; ++owner)
    for (int64_t table = 0; table < num_tables; ++table) {
      const int64_t begin = next;
      for (int64_t i = offsets[table]; i < offsets[table + 1]; ++i) {
        const auto slice = static_cast<int64_t>(mix(static_cast<uint64_t>(ids[i]), static_cast<uint64_t>(salts[table])) >> 48);
        if (slice < first_slices[owner] || slice >= first_slices[owner + 1]) continue;
        expect(owned_ids[next] == ids[i], "ids of an owner in the order they came");
        expect(order[next] == i && inverse[i] == next, "where an id came from and went");
        ++next;
      }
      expect(counts[owner * num_tables + table] == next - begin, "ids of an owner and table");
    }
  expect(next == num_ids, "every id has an owner");
}

}  // namespace

int main() {
  std::mt19937_64 random(1);
  for (const std::vector<int64_t>& sizes : {std::vector<int64_t>{}, {0}, {1}, {63, 0, 64, 257}, {1000, 3, 20000}, {8192, 8193}})
    for (const std::vector<int64_t>& first_slices :
         {std::vector<int64_t>{0, 65536}, {0, 32768, 65536}, {0, 0, 9000, 9000, 65535, 65536, 65536}, {0, 1, 2, 3, 4, 5, 6, 65536}})
      check(random, sizes, first_slices);
  std::puts("partition_test: ok");
}
