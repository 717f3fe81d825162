#include "core/decode_parquet.h"

#include <memory>
#include <new>
#include <vector>

#include "core/made_array.h"
#include "ops/operator.h"
#include "ops/tensor_access.h"

namespace sparrow {
namespace {

// A row of `chunks`, in the order of its numbers.
struct ChunkOf {
  int64_t run, begin, end, codec, item_bytes, num_values, is_list, is_nullable, has_nullable_items;
};
static_assert(sizeof(ChunkOf) == 9 * sizeof(int64_t));

// Numbers beyond are those of a damaged file, or of one that nobody reads in one piece.
constexpr int64_t kMostEntries = int64_t{1} << 27, kMostBytes = int64_t{1} << 34;

int64_t value_bytes_of(const ChunkOf& chunk, int64_t num_rows) {
  return chunk.item_bytes * (chunk.is_list != 0 ? chunk.num_values : num_rows);
}

// Returns the columns decoded; null, and which one, where one is refused.
std::unique_ptr<MadeBatch> decoded(const ChunkOf* chunk, int64_t num_chunks, const std::vector<const uint8_t*>& runs, int64_t num_rows,
                                   int64_t* refused) {
  int64_t num_bytes = 0;
  for (int64_t i = 0; i < num_chunks; ++i)
    num_bytes += MadeBatch::rounded(value_bytes_of(chunk[i], num_rows)) + MadeBatch::rounded(4 * (num_rows + 1)) +
                 MadeBatch::rounded((num_rows + 7) / 8);
  *refused = 0;
  int64_t stored = 0;
  for (int64_t i = 0; i < num_chunks; ++i) stored += chunk[i].end - chunk[i].begin;
  // A stored byte stands for a few thousand nulls at most, a page of them for as many as there are: memory is not set aside for entries
  // that cannot be.
  constexpr int64_t kMostOfByte = int64_t{1} << 18;
  if (num_bytes > kMostBytes || num_bytes / kMostOfByte > stored) return nullptr;
  auto batch = std::make_unique<MadeBatch>();
  batch->reserve(num_bytes);
  ParquetScratch scratch;
  for (int64_t i = 0; i < num_chunks; ++i) {
    const ChunkOf& of = chunk[i];
    const ParquetChunk one{{runs[of.run] + of.begin, runs[of.run] + of.end},
                           of.codec,
                           of.item_bytes,
                           of.num_values,
                           of.is_list != 0,
                           of.is_nullable != 0,
                           of.has_nullable_items != 0};
    const ParquetRoom room{reinterpret_cast<int32_t*>(batch->take(4 * (num_rows + 1))), batch->take((num_rows + 7) / 8),
                           batch->take(value_bytes_of(of, num_rows))};
    ParquetCount count{};
    if (!decode_parquet_chunk(one, num_rows, room, &scratch, &count)) {
      *refused = i;
      return nullptr;
    }
    if (one.is_list) {
      batch->add_lists(num_rows, count.num_nulls, room.validity, room.offsets, count.num_values, room.values);
    } else {
      batch->add(num_rows, count.num_nulls, room.validity, room.values);
    }
  }
  *refused = -1;
  return batch;
}

}  // namespace

int64_t decode_parquet_cpu(Tensor array, std::vector<Tensor> runs, Tensor chunks, int64_t num_rows) {
  STD_TORCH_CHECK(array.numel() * 8 == sizeof(ArrowArray), "array must have room for an ArrowArray");
  auto* exported = reinterpret_cast<ArrowArray*>(output<int64_t>(array, "array"));
  const int64_t num_chunks = chunks.size(0);
  STD_TORCH_CHECK(chunks.numel() == num_chunks * 9, "chunks must be [C, 9]");
  STD_TORCH_CHECK(num_rows >= 0, "num_rows is ", num_rows);
  const auto* chunk = reinterpret_cast<const ChunkOf*>(input<int64_t>(chunks, "chunks"));
  std::vector<const uint8_t*> bytes;
  for (const Tensor& run : runs) bytes.push_back(input<uint8_t>(run, "runs"));
  for (int64_t i = 0; i < num_chunks; ++i) {
    const ChunkOf& of = chunk[i];
    STD_TORCH_CHECK(
        of.run >= 0 && of.run < static_cast<int64_t>(runs.size()) && of.begin >= 0 && of.begin <= of.end && of.end <= runs[of.run].numel(),
        "chunks: row ", i, " lies in no run");
    STD_TORCH_CHECK((of.codec == 0 || of.codec == 1) && (of.item_bytes == 4 || of.item_bytes == 8), "chunks: row ", i,
                    " is of no codec or item size that is decoded");
    if (of.num_values < 0 || of.num_values > kMostEntries || num_rows > kMostEntries) return i;
  }
  int64_t refused = -1;
  try {
    auto batch = decoded(chunk, num_chunks, bytes, num_rows, &refused);
    if (batch != nullptr) MadeBatch::hand_over(std::move(batch), num_rows, exported);
  } catch (const std::bad_alloc&) {
    return 0;
  }
  return refused;
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("decode_parquet", SPARROW_BOX(&sparrow::decode_parquet_cpu)); }
