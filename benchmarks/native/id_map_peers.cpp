// id_map_peers DIR MAP BATCH: times one hash map from int64 to int32 on the ids in DIR, by the CPU clock of the thread.
//
// DIR/known.i64: distinct ids; DIR/zipf.i64: ids to find or insert; DIR/uniform.i64: ids that are known. Whole batches only.
// A new id gets the number of ids seen before it, as in a table of rows. Prints a JSON object of seconds, bytes and a check sum of all
// rows. Without MAP: prints the maps whose headers were found.
#include <malloc.h>
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#if __has_include(<tsl/robin_map.h>)
#include <tsl/robin_map.h>
#define HAVE_TSL
#endif
#if __has_include(<boost/unordered/unordered_flat_map.hpp>)
#include <boost/unordered/unordered_flat_map.hpp>
#define HAVE_BOOST
#endif
#if __has_include(<absl/container/flat_hash_map.h>)
#include <absl/container/flat_hash_map.h>
#define HAVE_ABSL
#endif
#if __has_include(<parallel_hashmap/phmap.h>)
#include <parallel_hashmap/phmap.h>
#define HAVE_PHMAP
#endif

namespace {

using Ids = std::vector<int64_t>;

double cpu_seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

Ids read_ids(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (file == nullptr) std::exit(2);
  std::fseek(file, 0, SEEK_END);
  Ids ids(static_cast<size_t>(std::ftell(file)) / 8);
  std::rewind(file);
  const size_t got = std::fread(ids.data(), 8, ids.size(), file);
  std::fclose(file);
  if (got != ids.size()) std::exit(2);
  return ids;
}

size_t bytes_in_use() {
  const auto info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

// Every row is multiplied by a number of its position, so that rows swapped do not go unseen.
struct CheckSum {
  uint64_t sum = 0, position = 0;
  void add(const std::vector<int32_t>& rows) {
    for (int32_t row : rows) sum += (static_cast<uint64_t>(row) + 1) * (2 * position++ + 1);
  }
};

template <class Map>
class Timed {
 public:
  Timed(const Ids& known, const Ids& zipf, const Ids& uniform, size_t batch)
      : known_(known), zipf_(zipf), uniform_(uniform), batch_(batch), rows_(batch) {}

  void run() {
    insert_growing();  // takes the memory from the machine that hosts this one, if one does
    const std::vector<double> grow = insert_growing();
    double grow_seconds = 0;
    for (double seconds : grow) grow_seconds += seconds;
    Map map;
    double began = cpu_seconds();
    map.reserve(known_.size());
    for (size_t first = 0; first < known_.size(); first += batch_) find_or_insert(map, known_.data() + first);
    const double reserved = cpu_seconds() - began;
    CheckSum check;
    std::vector<double> finds, zipf;
    for (size_t first = 0; first < uniform_.size(); first += batch_) {
      began = cpu_seconds();
      for (size_t i = 0; i < batch_; ++i) rows_[i] = map.find(uniform_[first + i])->second;
      finds.push_back(cpu_seconds() - began);
      check.add(rows_);
    }
    for (size_t first = 0; first < zipf_.size(); first += batch_) {
      began = cpu_seconds();
      find_or_insert(map, zipf_.data() + first);
      zipf.push_back(cpu_seconds() - began);
      check.add(rows_);
    }
    std::printf("{\"grow\": %.9f, \"reserved\": %.9f, \"zipf\": %.9f, \"find\": %.9f, \"worst\": %.4f, \"bytes\": %.3f, \"check\": %llu}\n",
                grow_seconds, reserved, median(zipf), median(finds), *std::max_element(grow.begin(), grow.end()) / median(grow),
                bytes_an_id_, static_cast<unsigned long long>(check.sum));
  }

 private:
  void find_or_insert(Map& map, const int64_t* ids) {
    for (size_t i = 0; i < batch_; ++i) rows_[i] = map.try_emplace(ids[i], static_cast<int32_t>(map.size())).first->second;
  }

  // Returns the seconds of each batch, and notes the bytes an id, averaged over ten sizes.
  std::vector<double> insert_growing() {
    const size_t before = bytes_in_use();
    std::vector<double> seconds;
    double sum = 0, sizes = 0;
    seconds.reserve(known_.size() / batch_);
    {
      Map map;
      for (size_t first = 0; first < known_.size(); first += batch_) {
        const double began = cpu_seconds();
        find_or_insert(map, known_.data() + first);
        seconds.push_back(cpu_seconds() - began);
        if ((first + batch_) * 10 / known_.size() != first * 10 / known_.size()) {
          sum += static_cast<double>(bytes_in_use() - before) / static_cast<double>(map.size());
          ++sizes;
        }
      }
    }
    bytes_an_id_ = sum / sizes;
    malloc_trim(0);
    return seconds;
  }

  const Ids &known_, &zipf_, &uniform_;
  size_t batch_;
  std::vector<int32_t> rows_;
  double bytes_an_id_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  Ids known, zipf, uniform;
  size_t batch = 0;
  if (argc == 4) {
    const std::string folder = argv[1];
    known = read_ids(folder + "/known.i64"), zipf = read_ids(folder + "/zipf.i64"), uniform = read_ids(folder + "/uniform.i64");
    batch = std::strtoull(argv[3], nullptr, 10);
  }
  const auto offer = [&](const char* name, auto* none) {
    using Map = std::remove_pointer_t<decltype(none)>;
    if (argc != 4) std::puts(name);
    if (argc == 4 && std::strcmp(name, argv[2]) == 0) Timed<Map>(known, zipf, uniform, batch).run();
  };
#ifdef HAVE_TSL
  offer("tsl::robin_map", static_cast<tsl::robin_map<int64_t, int32_t>*>(nullptr));
#endif
#ifdef HAVE_BOOST
  offer("boost::unordered_flat_map", static_cast<boost::unordered_flat_map<int64_t, int32_t>*>(nullptr));
#endif
#ifdef HAVE_ABSL
  offer("absl::flat_hash_map", static_cast<absl::flat_hash_map<int64_t, int32_t>*>(nullptr));
#endif
#ifdef HAVE_PHMAP
  offer("phmap::flat_hash_map", static_cast<phmap::flat_hash_map<int64_t, int32_t>*>(nullptr));
#endif
}
