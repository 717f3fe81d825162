#include "core/rehash.h"

#include <string>
#include <vector>

#include "ops/id_map_access.h"
#include "ops/operator.h"

namespace sparrow {
namespace {

// What num_keys of a range says that is to be rebuilt.
constexpr int64_t kRebuild = -1;

// Old ranges whose living ids go into new ranges of one table.
struct Job {
  int64_t table, first_old, num_old, first_new, num_new;
};

std::vector<Job> jobs_of(const IdMap& map, const IdMap& old, int64_t num_tables) {
  std::vector<Job> jobs;
  for (int64_t table = 0; table < num_tables; ++table) {
    const TableHeader &to = map.tables[table], &from = old.tables[table];
    const int64_t num_new = int64_t{1} << to.range_bits, num_old = int64_t{1} << from.range_bits;
    STD_TORCH_CHECK(to.salt == from.salt && to.first_slice == from.first_slice && to.slice_scale == from.slice_scale, "headers: table ",
                    table, " has another salt or other slices than in old_headers");
    if (num_new != num_old) {
      for (int64_t i = 0; i < num_new; ++i)
        STD_TORCH_CHECK(map.ranges[to.first_range + i].num_keys == kRebuild, "ranges: table ", table,
                        " changes its number of ranges, range ", i, " of it is not marked to be rebuilt");
      jobs.push_back({table, from.first_range, num_old, to.first_range, num_new});
      continue;
    }
    for (int64_t i = 0; i < num_new; ++i)
      if (map.ranges[to.first_range + i].num_keys == kRebuild) jobs.push_back({table, from.first_range + i, 1, to.first_range + i, 1});
  }
  return jobs;
}

// Returns what is wrong, or nothing; then nothing was written.
std::string run(const IdMap& map, const IdMap& old, const Job& job) {
  static thread_local RehashScratch living;
  const TableHeader& table = map.tables[job.table];
  int64_t most = 0;
  for (int64_t i = 0; i < job.num_old; ++i) most += old.ranges[job.first_old + i].num_lines * kIdsPerLine;
  living.start(most);
  for (int64_t i = 0; i < job.num_old; ++i) living.append(map.lines, old.ranges[job.first_old + i]);
  // A range rebuilt by itself keeps its ids; only a table that changes its ranges must sort them out.
  const std::vector<int64_t> begin =
      job.num_old == job.num_new ? std::vector<int64_t>{0, living.num_living} : sort_by_range(map, table, job.num_new, living);
  for (int64_t i = 0; i < job.num_new; ++i) {
    const int64_t room = map.ranges[job.first_new + i].num_lines * kIdsPerLine, wanted = begin[i + 1] - begin[i];
    if (wanted > room)
      return "range " + std::to_string(i) + " has room for " + std::to_string(room) + " ids, needs " + std::to_string(wanted);
  }
  for (int64_t i = 0; i < job.num_new; ++i) place(map, table, map.ranges[job.first_new + i], living, begin[i], begin[i + 1]);
  living.finish();
  return "";
}

}  // namespace

void rehash_cpu(Tensor lines, Tensor headers, Tensor ranges, Tensor old_headers, Tensor old_ranges) {
  const IdMap map = id_map_of(lines, headers, ranges), old = id_map_of(lines, old_headers, old_ranges);
  STD_TORCH_CHECK(headers.size(0) == old_headers.size(0), "headers and old_headers must describe the same tables");
  const std::vector<Job> jobs = jobs_of(map, old, headers.size(0));
  std::vector<std::string> refusals(jobs.size());  // what threads throw is lost
  parallel_for(0, static_cast<int64_t>(jobs.size()), 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) refusals[i] = run(map, old, jobs[i]);
  });
  for (size_t i = 0; i < jobs.size(); ++i) STD_TORCH_CHECK(refusals[i].empty(), "table ", jobs[i].table, ": ", refusals[i]);
}

}  // namespace sparrow

STABLE_TORCH_LIBRARY_IMPL(sparrow, CPU, m) { m.impl("rehash_", SPARROW_BOX(&sparrow::rehash_cpu)); }
