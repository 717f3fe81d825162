#include "core/unpack_arrow.h"

#include <memory>
#include <vector>

#include "ops/kept_output.h"
#include "ops/operator.h"
#include "ops/tensor_access.h"

namespace sparrow {
namespace {

// A row of `columns`, in the order of its numbers.
struct ColumnOf {
  int64_t child, kind, offset_bytes, from, to, has_default;
};
static_assert(sizeof(ColumnOf) == 6 * sizeof(int64_t));

// Numbers of `from` and `to`.
enum Type : int64_t { kInt8, kInt16, kInt32, kInt64, kFloat32, kFloat64, kBytes8 };

constexpr ScalarType kScalarTypes[] = {ScalarType::Char,  ScalarType::Short,  ScalarType::Int, ScalarType::Long,
                                       ScalarType::Float, ScalarType::Double, ScalarType::Byte};
constexpr int64_t kItemBytes[] = {1, 2, 4, 8, 4, 8, 1};

template <typename F>
bool with_type(int64_t type, F call) {
  switch (type) {
    case kInt8: return call(int8_t{});
    case kInt16: return call(int16_t{});
    case kInt32: return call(int32_t{});
    case kInt64: return call(int64_t{});
    case kFloat32: return call(float{});
    case kFloat64: return call(double{});
    default: return false;
  }
}

// Dtypes that dense columns may become.
template <typename F>
bool with_dense_type(int64_t type, F call) {
  switch (type) {
    case kInt32: return call(int32_t{});
    case kInt64: return call(int64_t{});
    case kFloat32: return call(float{});
    case kFloat64: return call(double{});
    default: return false;
  }
}

bool widen(const ArrowArray& array, int64_t offset_bytes, int64_t num_values, int64_t* out) {
  if (array.length == 0) {
    out[0] = 0;
    return true;
  }
  const void* raw = array.buffers[1];
  if (raw == nullptr) return false;
  const bool good = offset_bytes == 4 ? widen_offsets(static_cast<const int32_t*>(raw) + array.offset, array.length, num_values, out)
                                      : widen_offsets(static_cast<const int64_t*>(raw) + array.offset, array.length, num_values, out);
  return good && nulls_are_empty(validity(array), array.offset, array.length, out);
}

int64_t first_offset(const ArrowArray& array, int64_t offset_bytes) {
  if (array.length == 0) return 0;
  return offset_bytes == 4 ? static_cast<const int32_t*>(array.buffers[1])[array.offset]
                           : static_cast<const int64_t*>(array.buffers[1])[array.offset];
}

// Room for one dense column of lists: its offsets, and its values of at most 8 bytes.
struct DenseRoom {
  std::vector<int64_t> offsets, values;
};

// Dense values of a column into `out`, rows of `to`; false where the caller must look.
bool fill_dense(const ArrowArray& array, const ColumnOf& column, int64_t bits_of_default, DenseRoom* scratch, void* out) {
  return with_dense_type(column.to, [&](auto to) {
    using To = decltype(to);
    To fallback;
    std::memcpy(&fallback, &bits_of_default, sizeof fallback);
    const To* given = column.has_default != 0 ? &fallback : nullptr;
    return with_type(column.from, [&](auto from) {
      using From = decltype(from);
      const int64_t rows = array.length;
      if (rows == 0) return true;
      if (column.kind == static_cast<int64_t>(ColumnKind::kDense)) {
        const auto* value = static_cast<const From*>(array.buffers[1]);
        return value != nullptr && fill_flat(value + array.offset, validity(array), array.offset, rows, given, static_cast<To*>(out));
      }
      const ArrowArray& child = *array.children[0];
      int64_t* offsets = scratch->offsets.data();
      if (!widen(array, column.offset_bytes, child.length, offsets) || validity(child) != nullptr) return false;
      const auto* value = static_cast<const From*>(child.buffers[1]);
      if (value == nullptr && offsets[rows] != 0) return false;
      if (value != nullptr) value += child.offset + first_offset(array, column.offset_bytes);
      return fill_lists(value, offsets, rows, given, reinterpret_cast<To*>(scratch->values.data()), static_cast<To*>(out));
    });
  });
}

// A tensor over memory of the array, or a copy where torch is too old for that.
Tensor view_of(SharedArray* shared, const void* data, int64_t count, int64_t type, const Tensor& like) {
  const auto code = [](auto value) { return torch::stable::detail::to<int32_t>(torch::stable::detail::from(value)); };
  if (count == 0 || torch_from_blob == nullptr) {
    Tensor out = torch::stable::new_empty(like, torch::headeronly::IntHeaderOnlyArrayRef(&count, 1), kScalarTypes[type]);
    if (count != 0) std::memcpy(out.mutable_data_ptr(), data, count * kItemBytes[type]);
    return out;
  }
  const int64_t stride = 1;
  AtenTensorHandle handle = nullptr;
  shared->share();
  const auto let_go = [](void*, void* context) { static_cast<SharedArray*>(context)->let_go(); };
  const AOTITorchError error =
      torch_from_blob(const_cast<void*>(data), 1, &count, &stride, 0, code(kScalarTypes[type]), code(torch::headeronly::DeviceType::CPU),
                      -1, &handle, code(torch::headeronly::Layout::Strided), nullptr, 0, let_go, shared);
  if (error != 0) shared->let_go();
  STD_TORCH_CHECK(error == 0, "a view of ", count, " values could not be made");
  return Tensor(handle);
}

// Values of a list or bytes column, shared.
Tensor values_of(SharedArray* shared, const ArrowArray& array, const ColumnOf& column, int64_t count, const Tensor& like) {
  const bool is_bytes = column.kind == static_cast<int64_t>(ColumnKind::kBytes);
  const int64_t type = is_bytes ? static_cast<int64_t>(kBytes8) : column.from;
  if (count == 0) return view_of(shared, nullptr, 0, type, like);
  const ArrowArray& holder = is_bytes ? array : *array.children[0];
  const auto* data = static_cast<const char*>(holder.buffers[is_bytes ? 2 : 1]);
  const int64_t first = first_offset(array, column.offset_bytes) + (is_bytes ? 0 : holder.offset);
  return view_of(shared, data + first * kItemBytes[type], count, type, like);
}

bool list_is_plain(const ArrowArray& array, const ColumnOf& column, int64_t* offsets) {
  if (column.kind == static_cast<int64_t>(ColumnKind::kBytes)) {
    return widen(array, column.offset_bytes, INT64_MAX, offsets) && (offsets[array.length] == 0 || array.buffers[2] != nullptr);
  }
  const ArrowArray& child = *array.children[0];
  return widen(array, column.offset_bytes, child.length, offsets) && validity(child) == nullptr &&
         (offsets[array.length] == 0 || child.buffers[1] != nullptr);
}

bool has_shape(const ArrowArray& array, const ColumnOf& column, int64_t rows) {
  const bool is_flat = column.kind == static_cast<int64_t>(ColumnKind::kDense),
             is_bytes = column.kind == static_cast<int64_t>(ColumnKind::kBytes);
  if (array.length != rows || array.n_buffers != (is_bytes ? 3 : 2)) return false;
  return is_flat || is_bytes || (array.n_children == 1 && array.children[0]->n_buffers == 2);
}

}  // namespace

std::vector<Tensor> unpack_arrow_cpu(Tensor array, Tensor columns, Tensor defaults) {
  STD_TORCH_CHECK(array.numel() * 8 == sizeof(ArrowArray), "array must hold an exported ArrowArray");
  auto* exported = reinterpret_cast<ArrowArray*>(output<int64_t>(array, "array"));
  STD_TORCH_CHECK(exported->release != nullptr, "array was released already");
  std::unique_ptr<SharedArray, void (*)(SharedArray*)> shared(new SharedArray(exported), [](SharedArray* held) { held->let_go(); });
  const ArrowArray& batch = **shared;
  const int64_t num_columns = columns.size(0), rows = batch.length;
  STD_TORCH_CHECK(columns.numel() == num_columns * 6 && defaults.numel() == num_columns, "columns must be [C, 6], defaults [C]");
  STD_TORCH_CHECK(batch.offset == 0, "array: a record batch has no offset of its own");
  const auto* column = reinterpret_cast<const ColumnOf*>(input<int64_t>(columns, "columns"));
  const auto* fallback = input<int64_t>(defaults, "defaults");
  int64_t num_lists = 0, num_dense_of[7] = {};
  for (int64_t i = 0; i < num_columns; ++i) {
    const ColumnOf& of = column[i];
    STD_TORCH_CHECK(of.child >= 0 && of.child < batch.n_children && of.kind >= 0 && of.kind <= 3 && of.from >= 0 && of.from < 7 &&
                        of.to >= 0 && of.to < 7 && (of.offset_bytes == 4 || of.offset_bytes == 8 || of.kind == 0),
                    "columns: row ", i, " describes no column");
    of.kind >= 2 ? ++num_lists : ++num_dense_of[of.to];
  }
  std::vector<Tensor> out = {empty<int64_t>({num_columns}, columns), empty_kept<int64_t>({num_lists, rows + 1}, columns)};
  auto* is_plain = output<int64_t>(out[0], "is_plain");
  auto* offsets = output<int64_t>(out[1], "offsets");
  // A matrix a dtype, in the order of the dtypes' numbers.
  char* dense[7] = {};
  for (int64_t type = 0; type < 7; ++type) {
    if (num_dense_of[type] == 0) continue;
    const int64_t shape[] = {num_dense_of[type], rows};
    out.push_back(torch::stable::new_empty(columns, torch::headeronly::IntHeaderOnlyArrayRef(shape, 2), kScalarTypes[type]));
    dense[type] = static_cast<char*>(out.back().mutable_data_ptr());
  }
  DenseRoom scratch{std::vector<int64_t>(rows + 1), std::vector<int64_t>(rows + 1)};
  for (int64_t i = 0; i < num_columns; ++i) {
    const ColumnOf& of = column[i];
    const ArrowArray& one = *batch.children[of.child];
    is_plain[i] = has_shape(one, of, rows);
    if (of.kind < 2) {
      if (is_plain[i]) is_plain[i] = fill_dense(one, of, fallback[i], &scratch, dense[of.to]);
      dense[of.to] += rows * kItemBytes[of.to];
    } else {
      if (is_plain[i]) is_plain[i] = list_is_plain(one, of, offsets);
      out.push_back(values_of(shared.get(), one, of, is_plain[i] ? offsets[rows] : 0, columns));
      offsets += rows + 1;
    }
  }
  return out;
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("unpack_arrow", SPARROW_BOX(&sparrow::unpack_arrow_cpu)); }
