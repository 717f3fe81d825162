#include "core/decode_orc.h"

#include <memory>
#include <new>
#include <vector>

#include "core/made_array.h"
#include "ops/operator.h"
#include "ops/tensor_access.h"

namespace sparrow {
namespace {

// A row of `columns`, in the order of its numbers.
struct OrcColumnOf {
  int64_t id, number, is_list;
};
static_assert(sizeof(OrcColumnOf) == 3 * sizeof(int64_t));

// What `stripe` is, in the order of its numbers.
struct OrcStripeOf {
  int64_t num_rows, num_types, index_bytes, footer_bytes, codec, block_bytes;
};
static_assert(sizeof(OrcStripeOf) == 6 * sizeof(int64_t));

// Numbers beyond are those of a damaged file, or of one that nobody reads in one piece.
constexpr int64_t kMostValues = int64_t{1} << 28;

struct Placed {
  uint8_t* validity;
  int32_t* offsets;
  int64_t num_nulls, num_values;
};

// Returns the columns decoded, null where one is refused.
std::unique_ptr<MadeBatch> decoded(const std::vector<OrcColumn>& columns, const OrcBytes& how, int64_t num_types, int64_t num_rows) {
  OrcFooter footer;
  if (!read_orc_footer(how, &footer) || static_cast<int64_t>(footer.encodings.size()) != num_types) return nullptr;
  OrcScratch scratch;
  OrcDecoder decoder(how, footer, num_rows, &scratch);
  if (!decoder.has_whole_rows()) return nullptr;
  auto batch = std::make_unique<MadeBatch>();
  const int64_t bytes_of_offsets = 4 * (num_rows + 1), bytes_of_bits = (num_rows + 7) / 8;
  batch->reserve((MadeBatch::rounded(bytes_of_offsets) + MadeBatch::rounded(bytes_of_bits)) * static_cast<int64_t>(columns.size()));
  std::vector<Placed> placed;
  int64_t num_values = 0, num_bytes = 0;
  for (const OrcColumn& column : columns) {
    Placed one{batch->take(bytes_of_bits), reinterpret_cast<int32_t*>(batch->take(bytes_of_offsets)), 0, 0};
    if (!decoder.place(column, one.validity, one.offsets, &one.num_nulls, &one.num_values)) return nullptr;
    const int64_t room = column.is_list ? one.num_values : num_rows;
    num_values += room;
    num_bytes += MadeBatch::rounded(room * column.item_bytes());
    if (num_values > kMostValues) return nullptr;
    placed.push_back(one);
  }
  batch->reserve(num_bytes);
  for (size_t i = 0; i < columns.size(); ++i) {
    const Placed& one = placed[i];
    uint8_t* const values = batch->take((columns[i].is_list ? one.num_values : num_rows) * columns[i].item_bytes());
    if (!decoder.fill(columns[i], one.num_values, values)) return nullptr;
    if (columns[i].is_list) {
      batch->add_lists(num_rows, one.num_nulls, one.validity, one.offsets, one.num_values, values);
    } else {
      batch->add(num_rows, one.num_nulls, one.validity, values);
    }
  }
  return batch;
}

}  // namespace

bool decode_orc_cpu(Tensor array, Tensor bytes, Tensor stripe, Tensor columns) {
  STD_TORCH_CHECK(array.numel() * 8 == sizeof(ArrowArray), "array must have room for an ArrowArray");
  auto* exported = reinterpret_cast<ArrowArray*>(output<int64_t>(array, "array"));
  const int64_t num_columns = columns.size(0);
  STD_TORCH_CHECK(columns.numel() == num_columns * 3 && stripe.numel() == 6, "columns must be [C, 3], stripe [6]");
  const auto& of = *reinterpret_cast<const OrcStripeOf*>(input<int64_t>(stripe, "stripe"));
  STD_TORCH_CHECK(of.num_rows >= 0 && (of.codec == 0 || of.codec == 1), "stripe: ", of.num_rows, " rows, compression ", of.codec);
  const auto* column = reinterpret_cast<const OrcColumnOf*>(input<int64_t>(columns, "columns"));
  std::vector<OrcColumn> wanted;
  for (int64_t i = 0; i < num_columns; ++i) {
    STD_TORCH_CHECK(column[i].id > 0 && column[i].number >= 0 && column[i].number < 4, "columns: row ", i, " describes no column");
    wanted.push_back({column[i].id, static_cast<OrcNumber>(column[i].number), column[i].is_list != 0});
  }
  // A stored byte stands for a few thousand nulls at most: memory is not set aside for rows that cannot be.
  constexpr int64_t kMostRowsOfByte = 16384;
  if (of.num_rows > kMostValues || of.num_rows / kMostRowsOfByte > bytes.numel()) return false;
  const auto* begin = input<uint8_t>(bytes, "bytes");
  const OrcBytes how{{begin, begin + bytes.numel()}, of.index_bytes, of.footer_bytes, static_cast<OrcCodec>(of.codec), of.block_bytes};
  try {
    auto batch = decoded(wanted, how, of.num_types, of.num_rows);
    if (batch == nullptr) return false;
    MadeBatch::hand_over(std::move(batch), of.num_rows, exported);
  } catch (const std::bad_alloc&) {
    return false;
  }
  return true;
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("decode_orc", SPARROW_BOX(&sparrow::decode_orc_cpu)); }
