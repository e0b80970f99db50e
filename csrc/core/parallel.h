// The one thread pool of the process.
#pragma once
#include <cstdint>
#include <utility>

namespace flb {

int num_threads();            // threads that parallel_for may use, the caller's included
void set_num_threads(int n);  // n >= 1; raises for less
int default_num_threads();    // OMP_NUM_THREADS, else the CPUs that affinity and the cgroup's quota leave us
bool in_parallel_region();

// Hands out [begin, end) in chunks of whole multiples of `grain` to at most num_threads() threads and returns when
// all are done. fn(ctx, chunk_begin, chunk_end). Runs on the caller alone if end - begin <= grain, or when nested.
// An exception from fn is raised on the caller (the first one wins).
using RangeFn = void (*)(void* ctx, int64_t begin, int64_t end);
void parallel_for_impl(int64_t begin, int64_t end, int64_t grain, RangeFn fn, void* ctx);

template <class F>
void parallel_for(int64_t begin, int64_t end, int64_t grain, F&& f) {
    if (end <= begin) return;
    if (end - begin <= grain || num_threads() == 1) {
        f(begin, end);
        return;
    }
    using Fn = std::remove_reference_t<F>;
    parallel_for_impl(
        begin, end, grain, [](void* ctx, int64_t b, int64_t e) { (*static_cast<Fn*>(ctx))(b, e); },
        const_cast<void*>(static_cast<const void*>(&f)));
}

}  // namespace flb
