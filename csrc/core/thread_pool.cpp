// One job at a time. The caller publishes it, works on it itself, closes it, and waits only for those workers that
// joined: a worker that wakes late finds the job closed and goes back to sleep, so a busy machine costs little.
//
// Everything a worker needs to agree on is one word, `state`: the number of workers that may still join (high half)
// and of those at work (low half). Joining is one compare-and-swap that moves one from high to low.
#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <new>

#include "core/cpu_count.h"
#include "core/error.h"
#include "core/parallel.h"

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace flb {
namespace {

constexpr int kMaxThreads = 1024;
constexpr int kChunksPerThread = 4;  // a thread that is interrupted leaves its share to the others
// Longer than what a program does between two operators: waking a sleeper costs 10 to 20 us on a virtual machine.
constexpr std::chrono::microseconds kSpin{500};

using Word = std::atomic<uint32_t>;
constexpr uint32_t kOneToJoin = 1u << 16;
constexpr uint32_t kAtWork = kOneToJoin - 1;

void futex_wait(Word& word, uint32_t expected) {
    syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}
void futex_wake(Word& word, int count) {
    syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
}

inline void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

struct Job {
    RangeFn fn;
    void* ctx;
    int64_t begin, end, chunk;
    std::atomic<int64_t> next;  // the first index not yet handed out, less `begin`
    std::atomic<bool> has_failed;
    std::exception_ptr error;  // written by the one that set has_failed
};

struct Pool {
    alignas(64) Word state{0};
    alignas(64) Word epoch{0};  // raised for each job: what sleeping workers watch
    alignas(64) std::atomic<int> sleepers{0};
    std::atomic<bool> caller_sleeps{false};
    std::atomic<bool> spins{false};  // only where each thread has a CPU of its own
    std::atomic<bool> busy{false};   // held by the thread whose job runs
    std::atomic<int> worker_limit{0};
    Job job{};
    int workers{0};
    pthread_t handles[kMaxThreads];
};

// Never destroyed: at exit the sleeping workers go with the process, touching nothing.
alignas(Pool) unsigned char storage[sizeof(Pool)];
Pool& pool() {
    static Pool* instance = [] {
        // A forked child has only the thread that forked: it forgets the workers and starts its own when needed.
        pthread_atfork(nullptr, nullptr, [] { new (storage) Pool; });
        return new (storage) Pool;
    }();
    return *instance;
}

thread_local bool in_region = false;

template <class Done>
bool spin_until(Pool& p, Done done) {
    if (done()) return true;
    if (!p.spins.load(std::memory_order_relaxed)) return false;
    const auto until = std::chrono::steady_clock::now() + kSpin;
    do {
        for (int i = 0; i < 16; ++i) {
            pause();
            if (done()) return true;
        }
        // On a busy machine the thread that is waited for may be queued on this very CPU.
        sched_yield();
    } while (std::chrono::steady_clock::now() < until);
    return false;
}

void work(Job& job) {
    in_region = true;
    const int64_t size = job.end - job.begin;
    for (;;) {
        const int64_t offset = job.next.fetch_add(job.chunk, std::memory_order_relaxed);
        if (offset >= size) break;
        try {
            job.fn(job.ctx, job.begin + offset, job.begin + std::min(size, offset + job.chunk));
        } catch (...) {
            if (!job.has_failed.exchange(true)) job.error = std::current_exception();
            job.next.store(size, std::memory_order_relaxed);
        }
    }
    in_region = false;
}

bool join_job(Pool& p) {
    uint32_t state = p.state.load(std::memory_order_acquire);
    while (state >= kOneToJoin)
        if (p.state.compare_exchange_weak(state, state - kOneToJoin + 1)) return true;
    return false;
}

void* worker_main(void* argument) {
    const int id = int(reinterpret_cast<intptr_t>(argument));
    Pool& p = pool();
    for (;;) {
        const uint32_t epoch = p.epoch.load();
        if (id >= p.worker_limit.load()) return nullptr;
        if (join_job(p)) {
            work(p.job);
            const uint32_t before = p.state.fetch_sub(1);
            if (before == 1 && p.caller_sleeps.load()) futex_wake(p.state, 1);
            continue;
        }
        if (spin_until(p, [&] { return p.epoch.load(std::memory_order_relaxed) != epoch; })) continue;
        p.sleepers.fetch_add(1);
        futex_wait(p.epoch, epoch);
        p.sleepers.fetch_sub(1);
    }
}

// Called by the holder of `busy`. Fewer threads than asked for is no error: the caller alone can do all the work.
void start_workers(Pool& p, int count) {
    p.worker_limit.store(count);
    p.spins.store(count + 1 <= affinity_cpus());
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);  // signals belong to the interpreter's thread
    for (; p.workers < count; ++p.workers) {
        void* id = reinterpret_cast<void*>(intptr_t(p.workers));
        if (pthread_create(&p.handles[p.workers], nullptr, worker_main, id)) break;
    }
    pthread_sigmask(SIG_SETMASK, &old, nullptr);
}

void stop_workers(Pool& p, int count) {
    p.worker_limit.store(count);
    p.epoch.fetch_add(1);
    futex_wake(p.epoch, kMaxThreads);
    while (p.workers > count) pthread_join(p.handles[--p.workers], nullptr);
}

int threads_of_environment(const char* name) {
    const char* text = std::getenv(name);
    if (!text) return 0;
    char* end;
    const long n = std::strtol(text, &end, 10);  // "4,2" (per nesting level) means 4 here
    return end != text && n > 0 ? int(std::min<long>(n, kMaxThreads)) : 0;
}

std::atomic<int> thread_count{0};  // 0: not asked for yet

}  // namespace

int default_num_threads() {
    static const int n = [] {
        for (const char* name : {"OMP_NUM_THREADS", "MKL_NUM_THREADS"})
            if (const int wished = threads_of_environment(name)) return wished;
        return std::min(available_cpus(), kMaxThreads);
    }();
    return n;
}

int num_threads() {
    int n = thread_count.load(std::memory_order_relaxed);
    if (__builtin_expect(n == 0, 0)) {
        n = default_num_threads();
        thread_count.store(n, std::memory_order_relaxed);
    }
    return n;
}

void set_num_threads(int n) {
    check(n > 0, "set_num_threads expects a positive integer, got ", n);
    check(!in_region, "set_num_threads can't be called from inside a parallel region");
    n = std::min(n, kMaxThreads);
    Pool& p = pool();
    while (p.busy.exchange(true)) sched_yield();
    thread_count.store(n, std::memory_order_relaxed);
    if (p.workers > n - 1) stop_workers(p, n - 1);
    p.busy.store(false);
}

bool in_parallel_region() { return in_region; }

void parallel_for_impl(int64_t begin, int64_t end, int64_t grain, RangeFn fn, void* ctx) {
    if (end <= begin) return;
    grain = std::max<int64_t>(grain, 1);
    const int64_t grains = (end - begin - 1) / grain + 1;
    const int threads = int(std::min<int64_t>(num_threads(), grains));
    if (threads <= 1 || in_region) {
        fn(ctx, begin, end);
        return;
    }
    Pool& p = pool();
    // Another thread's job has the pool: the CPUs are taken, so this one runs on its own thread.
    if (p.busy.exchange(true, std::memory_order_acquire)) {
        fn(ctx, begin, end);
        return;
    }
    if (p.workers < threads - 1) start_workers(p, num_threads() - 1);

    Job& job = p.job;
    job.fn = fn;
    job.ctx = ctx;
    job.begin = begin;
    job.end = end;
    job.chunk = grain * std::max<int64_t>(1, grains / (int64_t(threads) * kChunksPerThread));
    job.next.store(0, std::memory_order_relaxed);
    job.has_failed.store(false, std::memory_order_relaxed);
    const int helpers = std::min(threads - 1, p.workers);
    p.state.store(uint32_t(helpers) * kOneToJoin, std::memory_order_release);
    p.epoch.fetch_add(1);
    if (p.sleepers.load() > 0) futex_wake(p.epoch, helpers);

    work(job);

    uint32_t state = p.state.fetch_and(kAtWork) & kAtWork;  // closed: nobody joins from here on
    if (state && !spin_until(p, [&] { return p.state.load(std::memory_order_acquire) == 0; })) {
        p.caller_sleeps.store(true);
        while ((state = p.state.load()) != 0) futex_wait(p.state, state);
        p.caller_sleeps.store(false);
    }
    std::atomic_thread_fence(std::memory_order_acquire);
    std::exception_ptr error = std::move(job.error);
    job.error = nullptr;
    p.busy.store(false, std::memory_order_release);
    if (error) std::rethrow_exception(error);
}

}  // namespace flb
