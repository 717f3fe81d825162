// Large outputs in kept memory: it returns when the last tensor that shares an output's storage is gone, so nobody ever sees it reused.
#pragma once

#include <array>
#include <initializer_list>

#include "core/kept_memory.h"
#include "ops/tensor_access.h"

// Of torch 2.11 on; the library also loads in 2.10, where this is null.
extern "C" [[gnu::weak]] AOTITorchError torch_from_blob(void* data, int64_t ndim, const int64_t* sizes, const int64_t* strides,
                                                        int64_t storage_offset, int32_t dtype, int32_t device_type, int32_t device_index,
                                                        AtenTensorHandle* result, int32_t layout, const uint8_t* opaque_metadata,
                                                        int64_t opaque_metadata_size, void (*deleter)(void* data, void* context),
                                                        void* context);

namespace sparrow {

// Smaller ones are left to torch: the allocator of the process keeps their pages itself, and huge pages would waste more than they save.
constexpr int64_t kKeptOutputBytes = int64_t{1} << 20;

// Returns an uninitialised contiguous CPU tensor of a dtype whose values have `item_bytes`.
inline Tensor empty_kept(ScalarType type, int64_t item_bytes, std::initializer_list<int64_t> shape, const Tensor& like) {
  int64_t num_bytes = item_bytes;
  for (const int64_t size : shape) num_bytes *= size;
  if (num_bytes < kKeptOutputBytes || torch_from_blob == nullptr)
    return torch::stable::new_empty(like, torch::headeronly::IntHeaderOnlyArrayRef(shape.begin(), shape.size()), type);
  std::array<int64_t, 4> strides{};
  int64_t stride = 1;
  for (int64_t dim = static_cast<int64_t>(shape.size()) - 1; dim >= 0; --dim) {
    strides[dim] = stride;
    stride *= shape.begin()[dim];
  }
  KeptMemory::Buffer* buffer = KeptMemory::instance().take(num_bytes);
  const auto give_back = [](void*, void* context) { KeptMemory::instance().give_back(static_cast<KeptMemory::Buffer*>(context)); };
  AtenTensorHandle handle = nullptr;
  const auto code = [](auto value) { return torch::stable::detail::to<int32_t>(torch::stable::detail::from(value)); };
  const AOTITorchError error = torch_from_blob(buffer->data, static_cast<int64_t>(shape.size()), shape.begin(), strides.data(), 0,
                                               code(type), code(torch::headeronly::DeviceType::CPU), -1, &handle,
                                               code(torch::headeronly::Layout::Strided), nullptr, 0, give_back, buffer);
  STD_TORCH_CHECK(error == 0, "an output of ", num_bytes, " bytes could not be made");
  return Tensor(handle);
}

template <typename T>
Tensor empty_kept(std::initializer_list<int64_t> shape, const Tensor& like) {
  return empty_kept(scalar_type_of<T>(), sizeof(T), shape, like);
}

}  // namespace sparrow
