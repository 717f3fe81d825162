#include "core/map_values.h"

#include <algorithm>
#include <atomic>
#include <tuple>
#include <vector>

#include "ops/kept_output.h"
#include "ops/operator.h"
#include "ops/tensor_access.h"

namespace sparrow {
namespace {

// A thread takes pieces of this many outputs, whatever the chain, so that many small columns and one large keep all threads busy alike.
constexpr int64_t kPiece = 8 * kMapBlock;
// Fewer outputs in all than this are not worth a second thread.
constexpr int64_t kOutputsPerThread = 2 * kPiece;

// More outputs in all than this are beyond the last-level caches of most processors: ids are then written past them.
constexpr int64_t kStreamedOutputs = int64_t{1} << 22;

// A row of `chains`.
struct ChainRow {
  int64_t value, offsets, source, first_step, num_steps, output_type;
};
static_assert(sizeof(ChainRow) == 6 * sizeof(int64_t));

template <typename F>
void with_value_type(ScalarType type, F call) {
  switch (type) {
    case ScalarType::Byte:
    case ScalarType::Bool: return call(uint8_t{});
    case ScalarType::Char: return call(int8_t{});
    case ScalarType::Short: return call(int16_t{});
    case ScalarType::Int: return call(int32_t{});
    case ScalarType::Long: return call(int64_t{});
    case ScalarType::Half: return call(Float16{});
    case ScalarType::BFloat16: return call(BFloat16{});
    case ScalarType::Float: return call(float{});
    case ScalarType::Double: return call(double{});
    default: STD_TORCH_CHECK(false, "values have a dtype that columns do not have");
  }
}

ColumnType state_of(ScalarType type) {
  ColumnType entered = ColumnType::kInt64;
  with_value_type(type, [&](auto value) { entered = entered_as<decltype(value)>(); });
  return entered;
}

bool takes_ids(StepCode code) { return code >= StepCode::kHashInts; }
bool takes_bytes(StepCode code) { return code == StepCode::kHashBytes || code == StepCode::kVocabularyOfBytes; }

ColumnType after(ColumnType type, const Step& step) {
  if (step.code == StepCode::kCast) return static_cast<ColumnType>(step.parameter[0]);
  if (step.code >= StepCode::kBucketize) return ColumnType::kInt64;
  if (type != ColumnType::kInt64 || step.code == StepCode::kFill || step.code == StepCode::kClip) return type;
  return ColumnType::kFloat64;
}

// Reads one row of `steps`, and checks what would make a kernel read or divide where it must not.
Step step_of(const int64_t* row, const std::vector<Tensor>& tables, int64_t number) {
  Step step{static_cast<StepCode>(row[0]), {row[1], row[2], row[3]}, nullptr, UnsignedMod(1), UnsignedMod(1)};
  STD_TORCH_CHECK(row[0] >= 0 && step.code < StepCode::kNumSteps, "steps: row ", number, " has the unknown code ", row[0]);
  const auto one_of = [&](int64_t parameter, int64_t count) {
    STD_TORCH_CHECK(parameter >= 0 && parameter < count, "steps: row ", number, " has the unknown parameter ", parameter);
  };
  const auto at_least_1 = [&](int64_t parameter) {
    STD_TORCH_CHECK(parameter >= 1, "steps: row ", number, " divides by ", parameter);
    return UnsignedMod(static_cast<uint64_t>(parameter));
  };
  const auto look_up = [&](bool (*fits)(const int64_t*, int64_t)) {
    STD_TORCH_CHECK(row[1] >= 0 && row[1] < static_cast<int64_t>(tables.size()), "steps: row ", number, " names table ", row[1], " of ",
                    tables.size());
    step.table = input<int64_t>(tables[row[1]], "tables");
    STD_TORCH_CHECK(fits(step.table, tables[row[1]].numel()), "tables: table ", row[1], " is not what row ", number, " of steps looks up");
  };
  switch (step.code) {
    case StepCode::kCast:
    case StepCode::kFinite:
    case StepCode::kHashBytes:
    case StepCode::kHashInts: one_of(row[1], 3); break;
    case StepCode::kMod:
    case StepCode::kQuotient: step.mod = at_least_1(row[1]); break;
    case StepCode::kMultiHash:
      step.prime = at_least_1(row[2]);
      step.mod = at_least_1(row[3]);
      break;
    case StepCode::kBucketize: look_up(Buckets::fits); break;
    case StepCode::kVocabularyOfBytes:
    case StepCode::kVocabularyOfInts:
      look_up(step.code == StepCode::kVocabularyOfInts ? IntVocabulary::fits : BytesVocabulary::fits);
      one_of(row[2], 3);
      if (static_cast<OutOfVocabulary>(row[2]) == OutOfVocabulary::kBuckets) step.mod = at_least_1(row[3]);
      break;
    default: break;
  }
  return step;
}

// Reads and checks one row of `chains`, and makes its output.
ChainOf chain_of(const ChainRow& row, int64_t number, const std::vector<Tensor>& values, const std::vector<Tensor>& offsets,
                 const int64_t* step_rows, int64_t num_steps, const std::vector<Tensor>& tables, std::vector<Tensor>& outputs) {
  STD_TORCH_CHECK(row.value >= 0 && row.value < static_cast<int64_t>(values.size()), "chains: row ", number, " names values ", row.value,
                  " of ", values.size());
  STD_TORCH_CHECK(row.source >= 0 && row.source < 3, "chains: row ", number, " has the unknown source ", row.source);
  STD_TORCH_CHECK(row.first_step >= 0 && row.num_steps >= 0 && row.first_step <= num_steps - row.num_steps, "chains: row ", number,
                  " has steps beyond the ", num_steps, " there are");
  const Tensor& held = values[row.value];
  STD_TORCH_CHECK(held.is_cpu() && held.is_contiguous() && held.dim() == 1, "values: tensor ", row.value,
                  " must be a contiguous CPU tensor of one dimension");
  ChainOf chain{
      static_cast<Source>(row.source), held.const_data_ptr(), nullptr, held.numel(), {}, ColumnType::kInt64, nullptr, held.numel()};
  if (chain.source != Source::kValues) {
    STD_TORCH_CHECK(row.offsets >= 0 && row.offsets < static_cast<int64_t>(offsets.size()), "chains: row ", number, " names offsets ",
                    row.offsets, " of ", offsets.size());
    const Tensor& cuts = offsets[row.offsets];
    chain.offsets = input<int64_t>(cuts, "offsets");
    chain.num_outputs = cuts.numel() - 1;
    // That they never decrease is checked block by block, before they are used.
    STD_TORCH_CHECK(chain.num_outputs >= 0 && chain.offsets[0] == 0 && chain.offsets[chain.num_outputs] == chain.num_values,
                    "offsets: tensor ", row.offsets, " must start at 0 and end at ", chain.num_values);
  }
  ColumnType type = state_of(held.scalar_type());
  for (int64_t i = 0; i < row.num_steps; ++i) {
    const int64_t at = row.first_step + i;
    chain.steps.push_back(step_of(step_rows + 4 * at, tables, at));
    const Step& step = chain.steps.back();
    STD_TORCH_CHECK(!takes_ids(step.code) || type == ColumnType::kInt64, "chains: step ", i, " of row ", number,
                    " takes ids, gets numbers");
    STD_TORCH_CHECK(takes_bytes(step.code) == (i == 0 && chain.source == Source::kBytes), "chains: row ", number,
                    " must have a step of strings first where its source is strings, and nowhere else");
    type = after(type, step);
  }
  STD_TORCH_CHECK(chain.source != Source::kBytes || (held.scalar_type() == ScalarType::Byte && row.num_steps > 0), "chains: row ", number,
                  " cuts strings out of values that are no bytes, or has no step");
  STD_TORCH_CHECK(chain.source != Source::kRows || (row.num_steps > 0 && chain.steps[0].code == StepCode::kFill), "chains: row ", number,
                  " makes an output a row, which begins with a fill");
  STD_TORCH_CHECK(static_cast<int64_t>(type) == row.output_type, "chains: row ", number, " has the output dtype ", row.output_type,
                  ", its steps give ", static_cast<int64_t>(type));
  constexpr ScalarType kTypes[] = {ScalarType::Long, ScalarType::Float, ScalarType::Double};
  outputs.push_back(empty_kept(kTypes[row.output_type], type == ColumnType::kFloat32 ? 4 : 8, {chain.num_outputs}, held));
  chain.output_type = type;
  chain.output = outputs.back().mutable_data_ptr();
  return chain;
}

// Whether offsets [first, first + count] stay within [0, end] and never decrease.
bool offsets_rise(const int64_t* offsets, int64_t count, int64_t end) {
  int64_t falls = (offsets[0] < 0) + (offsets[count] > end);
  for (int64_t i = 0; i < count; ++i) falls += offsets[i] > offsets[i + 1];
  return falls == 0;
}

}  // namespace

std::tuple<std::vector<Tensor>, Tensor> map_values_cpu(std::vector<Tensor> values, std::vector<Tensor> offsets, Tensor chains, Tensor steps,
                                                       std::vector<Tensor> tables) {
  const int64_t num_chains = chains.size(0), num_steps = steps.size(0);
  STD_TORCH_CHECK(chains.numel() == 6 * num_chains && steps.numel() == 4 * num_steps, "chains must be [C, 6], steps [S, 4]");
  const auto* rows = reinterpret_cast<const ChainRow*>(input<int64_t>(chains, "chains"));
  const auto* step_rows = input<int64_t>(steps, "steps");
  std::vector<Tensor> outputs;
  std::vector<ChainOf> todo;
  std::vector<ScalarType> types;
  std::vector<int64_t> first_piece{0};
  int64_t num_outputs = 0;
  for (int64_t i = 0; i < num_chains; ++i) {
    todo.push_back(chain_of(rows[i], i, values, offsets, step_rows, num_steps, tables, outputs));
    types.push_back(values[rows[i].value].scalar_type());
    first_piece.push_back(first_piece.back() + (todo.back().num_outputs + kPiece - 1) / kPiece);
    num_outputs += todo.back().num_outputs;
  }
  const int64_t num_pieces = first_piece.back();
  std::vector<Counts> counts(num_pieces);
  std::atomic<int64_t> next = 0, wrong_offsets = -1;
  bool streams = false;
  for (int64_t i = 0; i < num_chains; ++i) {
    // Numbers take longer to compute than to write: for them it was slower.
    todo[i].streams = num_outputs > kStreamedOutputs && todo[i].source == Source::kValues && types[i] == ScalarType::Long &&
                      todo[i].output_type == ColumnType::kInt64;
    streams |= todo[i].streams;
  }
  const auto work = [&](int64_t, int64_t) {
    Block block;
    for (int64_t piece = next++; piece < num_pieces; piece = next++) {
      const int64_t number = std::upper_bound(first_piece.begin(), first_piece.end(), piece) - first_piece.begin() - 1;
      const ChainOf& chain = todo[number];
      const int64_t first = (piece - first_piece[number]) * kPiece, last = std::min(first + kPiece, chain.num_outputs);
      if (chain.offsets != nullptr && !offsets_rise(chain.offsets + first, last - first, chain.num_values)) {
        wrong_offsets = rows[number].offsets;
        continue;
      }
      with_value_type(types[number], [&](auto value) {
        for (int64_t at = first; at < last; at += kMapBlock)
          counts[piece].add(block.run<decltype(value)>(chain, at, std::min(kMapBlock, last - at)));
      });
    }
    if (streams) end_of_stream();
  };
  // Every thread takes the next piece there is, so it does not matter how torch divides them.
  if (num_outputs < kOutputsPerThread)
    work(0, num_pieces);
  else
    parallel_for(0, num_pieces, 1, work);
  STD_TORCH_CHECK(wrong_offsets < 0, "offsets: tensor ", wrong_offsets.load(), " must never decrease, nor leave the values");
  Tensor counted = empty<int64_t>({num_chains, 4}, chains);
  auto* count = output<int64_t>(counted, "counts");
  for (int64_t i = 0; i < num_chains; ++i) {
    Counts total;
    for (int64_t piece = first_piece[i]; piece < first_piece[i + 1]; ++piece) total.add(counts[piece]);
    const int64_t row[] = {total.not_finite, total.refused, total.first_refused, total.refused_by};
    std::copy(row, row + 4, count + 4 * i);
  }
  return {std::move(outputs), counted};
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("map_values", SPARROW_BOX(&sparrow::map_values_cpu)); }
