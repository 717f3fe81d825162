// Distinct ids in order of first appearance, and where each occurrence points.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "core/id_columns.h"
#include "core/kept_memory.h"
#include "core/mix.h"

namespace sparrow {

// Ids looked at together: their slots are prefetched while the block before them is looked up.
struct DedupBlock {
  static constexpr int64_t kIds = 64;
  int64_t count = 0;
  int64_t ids[2 * kIds];
  uint64_t hashes[2 * kIds];
  int32_t positions[2 * kIds];
  int32_t indices[2 * kIds];
};

// An open-addressing table from ids to indices into an array of them. A slot holds half a hash and an index, so that no id value is special
// and the table is half the size of one that holds ids.
class DedupSlots {
 public:
  // A full mix: ids that differ in their high bits only (feature << 32, multiples of 2^k) must not meet in one slot.
  static uint64_t hash(int64_t id) { return mix(static_cast<uint64_t>(id), 0) | kTaken; }

  // Prepares for up to num_ids ids, expected to be about num_expected; at most half of the slots are ever used. Few get their worst case at
  // once; many are expected to repeat, and `reserve` corrects that.
  void reset(int64_t num_ids, int64_t num_expected) {
    most_slots_ = std::bit_ceil(static_cast<uint64_t>(2 * std::max<int64_t>(num_ids, 8)));
    clear(std::min(most_slots_, std::bit_ceil(static_cast<uint64_t>(std::max(2 * kFewIds, num_expected / 2)))));
  }

  // Makes room for one block more. keys[index] is the id that has an index.
  void reserve(const int64_t* keys) {
    if (num_used_ + 2 * DedupBlock::kIds <= (mask_ + 1) / 2 || mask_ + 1 == most_slots_) return;
    const uint64_t num_old = mask_ + 1, num_used = num_used_;
    const std::unique_ptr<Scratch<uint64_t>> old = std::move(memory_);
    capacity_ = 0;
    clear(std::min(most_slots_, 2 * num_old));
    num_used_ = num_used;
    for (uint64_t i = 0; i < num_old; ++i) {
      const uint64_t slot = (*old)[static_cast<int64_t>(i)];
      if (slot == 0) continue;
      uint64_t place = hash(keys[static_cast<uint32_t>(slot)]) & mask_;
      while (slots_[place] != 0) place = (place + 1) & mask_;
      slots_[place] = slot;
    }
  }

  [[gnu::always_inline]] void prefetch(const DedupBlock& block) const {
    for (int64_t i = 0; i < block.count; ++i) __builtin_prefetch(&slots_[block.hashes[i] & mask_], 1, 3);
  }

  // Writes block.indices; take(i) returns the index of the i-th id of the block, which is new, and makes keys[index] that id.
  template <typename Take>
  [[gnu::always_inline]] void look_up(DedupBlock& block, const int64_t* keys, Take take) {
    int32_t missed[2 * DedupBlock::kIds];
    int64_t num_missed = 0;
    // Whether an id is in its home slot is a coin's toss: no branch on it.
    for (int64_t i = 0; i < block.count; ++i) {
      const uint64_t slot = slots_[block.hashes[i] & mask_];
      const auto index = static_cast<uint32_t>(slot);
      block.indices[i] = static_cast<int32_t>(index);
      missed[num_missed] = static_cast<int32_t>(i);
      num_missed += static_cast<int>(((slot ^ block.hashes[i]) >> 32) != 0) | static_cast<int>(keys[index] != block.ids[i]);
    }
    for (int64_t k = 0; k < num_missed; ++k) {
      const int64_t i = missed[k];
      const uint64_t own = block.hashes[i];
      uint64_t place = own & mask_;
      while (slots_[place] != 0 && (((slots_[place] ^ own) >> 32) != 0 || keys[static_cast<uint32_t>(slots_[place])] != block.ids[i]))
        place = (place + 1) & mask_;
      if (slots_[place] == 0) {
        slots_[place] = (own & kUpperHalf) | static_cast<uint32_t>(take(i));
        ++num_used_;
      }
      block.indices[i] = static_cast<int32_t>(static_cast<uint32_t>(slots_[place]));
    }
  }

 private:
  static constexpr uint64_t kTaken = uint64_t{1} << 63, kUpperHalf = ~uint64_t{0} << 32;
  static constexpr int64_t kFewIds = int64_t{1} << 14;

  void clear(uint64_t num_slots) {
    if (num_slots > capacity_) {
      memory_ = std::make_unique<Scratch<uint64_t>>(static_cast<int64_t>(num_slots));
      slots_ = memory_->get();
      capacity_ = num_slots;
    }
    std::fill(slots_, slots_ + num_slots, 0);
    mask_ = num_slots - 1;
    num_used_ = 0;
  }

  std::unique_ptr<Scratch<uint64_t>> memory_;
  uint64_t* slots_ = nullptr;
  uint64_t capacity_ = 0, mask_ = 0, num_used_ = 0, most_slots_ = 0;
};

// Calls look(block) for each block of the num_ids ids from `begin` on whose hash belongs to part `part` of num_parts.
template <typename Look>
[[gnu::always_inline]] inline void for_blocks(const IdColumns& columns, int64_t begin, int64_t num_ids, int64_t part, int64_t num_parts,
                                              DedupSlots& slots, Look look) {
  if (num_ids == 0) return;
  DedupBlock blocks[2];
  IdCursor cursor(columns, begin);
  int64_t next = 0;
  const auto fill = [&](DedupBlock& block) {
    block.count = 0;
    while (next < num_ids && block.count < DedupBlock::kIds) {
      int64_t count;
      const int64_t* ids = cursor.take(std::min(DedupBlock::kIds, num_ids - next), count);
      uint64_t hashes[DedupBlock::kIds];
      for (int64_t i = 0; i < count; ++i) hashes[i] = DedupSlots::hash(ids[i]);
      for (int64_t i = 0; i < count; ++i) {
        block.ids[block.count] = ids[i];
        block.hashes[block.count] = hashes[i];
        block.positions[block.count] = static_cast<int32_t>(next + i);
        // The bits above those that find the slot; the highest is always set.
        const uint64_t owner = num_parts == 1 ? 0 : (((hashes[i] >> 32) & 0x7fffffff) * static_cast<uint64_t>(num_parts)) >> 31;
        block.count += owner == static_cast<uint64_t>(part);
      }
      next += count;
    }
    slots.prefetch(block);
  };
  fill(blocks[0]);
  for (int64_t current = 0; blocks[current].count > 0; current ^= 1) {
    fill(blocks[current ^ 1]);
    look(blocks[current]);
  }
}

// Writes the distinct ones of the num_ids ids from `begin` on to unique_ids, their numbers of occurrences to counts, and to inverse, per
// id, its index in unique_ids. Returns how many are distinct.
inline int64_t dedup_ids(const IdColumns& columns, int64_t begin, int64_t num_ids, DedupSlots& slots, int64_t* unique_ids, int32_t* inverse,
                         int32_t* counts) {
  int64_t num_unique = 0;
  slots.reset(num_ids, num_ids);
  for_blocks(columns, begin, num_ids, 0, 1, slots, [&](DedupBlock& block) {
    slots.reserve(unique_ids);
    slots.look_up(block, unique_ids, [&](int64_t i) {
      unique_ids[num_unique] = block.ids[i];
      counts[num_unique] = 0;
      return num_unique++;
    });
    for (int64_t i = 0; i < block.count; ++i) {
      inverse[block.positions[i]] = block.indices[i];
      ++counts[block.indices[i]];
    }
  });
  return num_unique;
}

// The same of one part of the ids, by their hashes, before the parts know of each other: an index is the position of the first occurrence.
// first[i] is written for the ids of this part, counts[p] for positions p of first occurrences. `ids` are those of `columns` in one piece.
inline void dedup_part(const IdColumns& columns, int64_t begin, const int64_t* ids, int64_t num_ids, int64_t part, int64_t num_parts,
                       DedupSlots& slots, int32_t* first, int32_t* counts) {
  slots.reset(num_ids, num_ids / num_parts);
  for_blocks(columns, begin, num_ids, part, num_parts, slots, [&](DedupBlock& block) {
    slots.reserve(ids);
    slots.look_up(block, ids, [&](int64_t i) {
      counts[block.positions[i]] = 0;
      return block.positions[i];
    });
    for (int64_t i = 0; i < block.count; ++i) {
      first[block.positions[i]] = block.indices[i];
      ++counts[block.indices[i]];
    }
  });
}

// Divides tables of the given sizes into num_parts lists of about equal work: the largest first, each to the part that has least.
inline std::vector<std::vector<int32_t>> balanced_parts(const std::vector<int64_t>& sizes, int64_t num_parts) {
  std::vector<int32_t> order(sizes.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return sizes[a] > sizes[b]; });
  std::vector<std::vector<int32_t>> parts(num_parts);
  std::vector<int64_t> work(num_parts, 0);
  for (const int32_t table : order) {
    if (sizes[table] == 0) break;
    const auto least = std::min_element(work.begin(), work.end()) - work.begin();
    parts[least].push_back(table);
    work[least] += sizes[table];
  }
  return parts;
}

// The distinct ids of several tables by several threads. A part finds those of whole tables, and of every table too large for that, which
// is shared, those with its hashes. Phases, each for all parts or pieces before the next: find(part); count(piece), where any table is
// shared; sum(); number(piece), where any is shared; write(piece).
class Dedup {
 public:
  // inverse: [N]. table_offsets: [T + 1].
  Dedup(const IdColumns& columns, const int64_t* table_offsets, int64_t num_tables, int64_t num_parts, int32_t* inverse)
      : columns_(columns),
        offsets_(table_offsets),
        num_tables_(num_tables),
        num_parts_(num_parts),
        num_ids_(table_offsets[num_tables]),
        inverse_(inverse),
        ids_of_shared_(num_tables, nullptr),
        is_shared_(num_tables, 0),
        unique_ids_(num_ids_),
        counts_(num_ids_),
        num_unique_(num_tables, 0) {
    std::vector<int64_t> own(num_tables);
    for (int64_t table = 0; table < num_tables; ++table) {
      const int64_t size = offsets_[table + 1] - offsets_[table];
      is_shared_[table] = num_parts > 1 && size >= kWorthSharing && 2 * size * num_parts > 3 * num_ids_;
      own[table] = is_shared_[table] ? 0 : size;
      any_shared_ |= is_shared_[table] != 0;
      for (int64_t begin = offsets_[table]; begin < offsets_[table + 1]; begin += kPieceIds)
        pieces_.push_back({table, begin, std::min(begin + kPieceIds, offsets_[table + 1]), 0});
    }
    parts_ = balanced_parts(own, num_parts);
    if (!any_shared_) return;
    order_ = std::make_unique<Scratch<int32_t>>(num_ids_);
    for (int64_t table = 0; table < num_tables; ++table)
      if (is_shared_[table]) ids_of_shared_[table] = in_one_piece(offsets_[table], offsets_[table + 1]);
  }

  bool any_shared() const { return any_shared_; }
  int64_t num_pieces() const { return static_cast<int64_t>(pieces_.size()); }

  void find(int64_t part) {
    DedupSlots slots;
    for (const int32_t table : parts_[part]) {
      const int64_t begin = offsets_[table], size = offsets_[table + 1] - begin;
      num_unique_[table] = dedup_ids(columns_, begin, size, slots, unique_ids_.get() + begin, inverse_ + begin, counts_.get() + begin);
    }
    for (int64_t table = 0; table < num_tables_; ++table) {
      const int64_t begin = offsets_[table];
      if (is_shared_[table])
        dedup_part(columns_, begin, ids_of_shared_[table], offsets_[table + 1] - begin, part, num_parts_, slots, inverse_ + begin,
                   counts_.get() + begin);
    }
  }

  void count(int64_t piece) {
    Piece& own = pieces_[piece];
    const int64_t begin = offsets_[own.table];
    for (int64_t i = own.begin; is_shared_[own.table] && i < own.end; ++i) own.first_unique += inverse_[i] == i - begin;
  }

  // Writes unique_offsets [T + 1].
  void sum(int64_t* unique_offsets) {
    for (const Piece& piece : pieces_)
      if (is_shared_[piece.table]) num_unique_[piece.table] += piece.first_unique;
    unique_offsets[0] = 0;
    for (int64_t table = 0; table < num_tables_; ++table) unique_offsets[table + 1] = unique_offsets[table] + num_unique_[table];
    int64_t table = -1, next = 0;
    for (Piece& piece : pieces_) {
      if (piece.table != table) next = unique_offsets[table = piece.table];
      next += std::exchange(piece.first_unique, next);
    }
  }

  void number(int64_t piece, int64_t* unique_ids, int32_t* counts) {
    const Piece& own = pieces_[piece];
    if (!is_shared_[own.table]) return;
    int64_t unique = own.first_unique;
    for (int64_t i = own.begin; i < own.end; ++i) {
      if (inverse_[i] != i - offsets_[own.table]) continue;
      (*order_)[i] = static_cast<int32_t>(unique);
      unique_ids[unique] = ids_of_shared_[own.table][i - offsets_[own.table]];
      counts[unique++] = counts_[i];
    }
  }

  // Writes what is left of inverse, unique_ids and counts, zeros after the last.
  void write(int64_t piece, const int64_t* unique_offsets, int64_t* unique_ids, int32_t* counts) {
    const Piece& own = pieces_[piece];
    const int64_t begin = offsets_[own.table], num_unique = unique_offsets[num_tables_];
    if (is_shared_[own.table]) {
      for (int64_t i = own.begin; i < own.end; ++i) inverse_[i] = (*order_)[begin + inverse_[i]];
    } else {
      const int64_t target = unique_offsets[own.table], end = std::min(own.end, begin + num_unique_[own.table]);
      for (int64_t i = own.begin; i < own.end; ++i) inverse_[i] += static_cast<int32_t>(target);
      if (own.begin < end) {
        std::copy(unique_ids_.get() + own.begin, unique_ids_.get() + end, unique_ids + target + (own.begin - begin));
        std::copy(counts_.get() + own.begin, counts_.get() + end, counts + target + (own.begin - begin));
      }
    }
    for (int64_t i = std::max(own.begin, num_unique); i < own.end; ++i) {
      unique_ids[i] = 0;
      counts[i] = 0;
    }
  }

 private:
  struct Piece {
    int64_t table, begin, end;
    int64_t first_unique;  // until `sum` of a shared table: how many first occurrences it holds
  };

  static constexpr int64_t kPieceIds = int64_t{1} << 13;
  static constexpr int64_t kWorthSharing = int64_t{1} << 15;

  // The ids of positions [begin, end): where they lie, or, where several columns hold them, a copy.
  const int64_t* in_one_piece(int64_t begin, int64_t end) {
    const size_t column = columns_.column_of(begin);
    if (end <= columns_.begins[column + 1]) return columns_.data[column] + (begin - columns_.begins[column]);
    copies_.push_back(std::make_unique<Scratch<int64_t>>(end - begin));
    IdCursor cursor(columns_, begin);
    for (int64_t done = 0, count = 0; done < end - begin; done += count) {
      const int64_t* ids = cursor.take(end - begin - done, count);
      std::copy(ids, ids + count, copies_.back()->get() + done);
    }
    return copies_.back()->get();
  }

  const IdColumns& columns_;
  const int64_t* offsets_;
  const int64_t num_tables_, num_parts_, num_ids_;
  int32_t* inverse_;
  std::vector<const int64_t*> ids_of_shared_;
  std::vector<std::unique_ptr<Scratch<int64_t>>> copies_;
  std::vector<char> is_shared_;
  bool any_shared_ = false;
  Scratch<int64_t> unique_ids_;  // of a table that is not shared, from its offset on
  Scratch<int32_t> counts_;      // beside them; of a shared one, by the position of the first occurrence
  std::vector<int64_t> num_unique_;
  std::unique_ptr<Scratch<int32_t>> order_;  // of a first occurrence: its index in the result
  std::vector<Piece> pieces_;
  std::vector<std::vector<int32_t>> parts_;
};

}  // namespace sparrow
