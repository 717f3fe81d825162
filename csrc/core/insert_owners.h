// find_or_insert by several threads: every range has one owner, who alone probes and writes it; rows are numbered afterwards, by input
// order. So rows do not depend on the number of threads, and no key is ever contended for.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "core/find_or_insert.h"

namespace sparrow {

// At most so many threads take part.
constexpr int64_t kMostOwners = 16;
// Positions handled at a time: few enough for the lines of new ids to be in cache still when their rows are written.
constexpr int64_t kOwnedBatch = int64_t{1} << 15;

// One batch of positions in four phases, each of num_owners independent parts to be run in any order:
//   sort(chunk)      which owner each position of a chunk belongs to
//   insert(owner)    probe, insert keys; a new id's row is a provisional number below -1
//   number(chunk)    rows of the new ids in input order
//   publish(owner)   the numbers into the map, and to repeats of a new id
class OwnedInsert {
 public:
  OwnedInsert(const IdMap& map, const Ids& in, int64_t num_tables, const RowCounters& before, const int32_t* free_rows, int32_t* rows,
              int32_t* new_positions, int64_t num_owners)
      : map_(map),
        in_(in),
        num_tables_(num_tables),
        before_(before),
        free_rows_(free_rows),
        rows_(rows),
        new_positions_(new_positions),
        num_owners_(num_owners) {}

  void start(int64_t first, int64_t last) {
    first_ = first, last_ = last;
    is_new_.assign(last - first, 0);
    owner_.resize(last - first);
    positions_.resize(last - first);
  }

  void sort(int64_t chunk) {
    const int64_t begin = chunk_begin(chunk), end = chunk_begin(chunk + 1);
    uint8_t* owner = owner_.data() + (begin - first_);
    int32_t next[kMostOwners + 1] = {};
    int64_t table = begin < end ? table_of(in_, num_tables_, begin) : 0;
    for (int64_t position = begin; position < end;) {
      while (in_.table_offsets[table + 1] <= position) ++table;
      const TableHeader header = map_.tables[table];
      const int64_t last = std::min(end, in_.table_offsets[table + 1]);
      // Small tables, of one range, take turns.
      const uint64_t turn = static_cast<uint64_t>(table) * 7;
      for (; position < last; ++position) {
        const uint64_t mixed = mix(static_cast<uint64_t>(in_.ids[position]), static_cast<uint64_t>(header.salt));
        const uint64_t range = range_of(fraction_of(mixed, header), static_cast<uint64_t>(header.range_bits));
        owner[position - begin] = static_cast<uint8_t>(((range + turn) % 32 * static_cast<uint64_t>(num_owners_)) >> 5);
        ++next[owner[position - begin] + 1];
      }
    }
    for (int64_t i = 0; i < num_owners_; ++i) next[i + 1] += next[i];
    std::copy(next, next + num_owners_ + 1, owned_by_[chunk]);
    int32_t* sorted = positions_.data() + (begin - first_);
    for (int64_t position = begin; position < end; ++position) sorted[next[owner[position - begin]]++] = static_cast<int32_t>(position);
  }

  void insert(int64_t owner) {
    Owned& own = owned_[owner];
    own.fresh.clear(), own.repeats.clear(), own.num_failed = 0;
    for (int64_t chunk = 0; chunk < num_owners_; ++chunk) {
      const int32_t* sorted = positions_.data() + (chunk_begin(chunk) - first_);
      insert_list(sorted + owned_by_[chunk][owner], owned_by_[chunk][owner + 1] - owned_by_[chunk][owner], own);
    }
  }

  // Serial, between insert and number.
  void count() {
    for (int64_t chunk = 0; chunk < num_owners_; ++chunk) {
      first_rank_[chunk] = num_new_;
      for (int64_t i = chunk_begin(chunk); i < chunk_begin(chunk + 1); ++i) num_new_ += is_new_[i - first_];
    }
  }

  void number(int64_t chunk) {
    int64_t rank = first_rank_[chunk];
    for (int64_t i = chunk_begin(chunk); i < chunk_begin(chunk + 1); ++i) {
      if (!is_new_[i - first_]) continue;
      new_positions_[rank] = static_cast<int32_t>(i);
      rows_[i] = fresh_row(before_, free_rows_, rank++);
    }
  }

  void publish(int64_t owner) {
    const Owned& own = owned_[owner];
    for (const Fresh& fresh : own.fresh) {
      if (fresh.row != nullptr) {
        *fresh.row = rows_[fresh.position];
      } else {
        map_.tables[fresh.table].side_row = rows_[fresh.position];
      }
    }
    for (const int32_t position : own.repeats) rows_[position] = rows_[own.fresh[-2 - rows_[position]].position];
  }

  int64_t num_new() const { return num_new_; }
  int64_t num_failed() const {
    int64_t total = 0;
    for (int64_t owner = 0; owner < num_owners_; ++owner) total += owned_[owner].num_failed;
    return total;
  }

 private:
  struct Fresh {
    int32_t* row;  // in the map; null for the side slot of `table`
    int32_t position;
    int32_t table;
  };
  struct Owned {
    std::vector<Fresh> fresh;
    std::vector<int32_t> repeats;  // positions whose id was new earlier in this batch
    int64_t num_failed = 0;
  };

  int64_t chunk_begin(int64_t chunk) const { return first_ + (last_ - first_) * chunk / num_owners_; }

  void insert_list(const int32_t* positions, int64_t count, Owned& own) {
    if (count == 0) return;
    ProbeBlock blocks[2];
    int64_t table_cursor = table_of(in_, num_tables_, positions[0]);
    const auto locate = [&](int64_t begin, ProbeBlock& block) {
      for (int64_t i = begin; i < std::min(begin + kProbeBlock, count); ++i) {
        while (in_.table_offsets[table_cursor + 1] <= positions[i]) ++table_cursor;
        block.put(i - begin, home_of(map_, map_.tables[table_cursor], in_.ids[positions[i]]), table_cursor);
      }
    };
    locate(0, blocks[0]);
    for (int64_t begin = 0, current = 0; begin < count; begin += kProbeBlock, current ^= 1) {
      locate(begin + kProbeBlock, blocks[current ^ 1]);
      const int64_t size = std::min(kProbeBlock, count - begin);
      int32_t late[kProbeBlock];
      const int num_late = blocks[current].probe(map_, in_.ids, positions + begin, size, rows_, late);
      for (int i = 0; i < num_late; ++i) insert_one(positions[begin + late[i]], blocks[current], late[i], own);
    }
  }

  void insert_one(int32_t position, const ProbeBlock& block, int32_t at, Owned& own) {
    bool taken = false;
    const auto take = [&](int32_t* row) {
      taken = true;
      own.fresh.push_back({row, position, block.table[at]});
      is_new_[position - first_] = 1;
      return static_cast<int32_t>(-1 - static_cast<int64_t>(own.fresh.size()));
    };
    TableHeader& table = map_.tables[block.table[at]];
    const int32_t row =
        find_or_insert_one(map_, table, *block.range[at], *block.home[at], in_.ids[position], take, [&] { ++own.num_failed; });
    rows_[position] = row;
    if (row < kNoRow && !taken) own.repeats.push_back(position);
  }

  const IdMap map_;
  const Ids in_;
  const int64_t num_tables_;
  const RowCounters before_;
  const int32_t* free_rows_;
  int32_t* rows_;
  int32_t* new_positions_;
  const int64_t num_owners_;
  int64_t first_ = 0, last_ = 0, num_new_ = 0;
  std::vector<uint8_t> is_new_, owner_;
  std::vector<int32_t> positions_;                  // of the batch; those of a chunk sorted by owner
  int32_t owned_by_[kMostOwners][kMostOwners + 1];  // [chunk][owner]: where the owner's begin in the chunk
  Owned owned_[kMostOwners];
  int64_t first_rank_[kMostOwners];
};

}  // namespace sparrow
