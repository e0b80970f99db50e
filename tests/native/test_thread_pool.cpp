#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include "check.h"
#include "core/error.h"
#include "core/parallel.h"

using namespace flb;

static void covers_each_index_once(int64_t n, int64_t grain) {
    std::vector<std::atomic<int>> seen(static_cast<size_t>(n));
    parallel_for(7, 7 + n, grain, [&](int64_t begin, int64_t end) {
        CHECK(begin < end);
        CHECK((begin - 7) % grain == 0);
        for (int64_t i = begin; i < end; ++i) ++seen[size_t(i - 7)];
    });
    for (auto& count : seen) CHECK(count == 1);
}

static void nested_regions_run_serially() {
    std::atomic<int64_t> total{0};
    parallel_for(0, 8, 1, [&](int64_t begin, int64_t end) {
        CHECK(in_parallel_region());
        for (int64_t i = begin; i < end; ++i) {
            int calls = 0;
            parallel_for(0, 1000, 1, [&](int64_t b, int64_t e) { ++calls, total += e - b; });
            CHECK(calls == 1);
        }
    });
    CHECK(!in_parallel_region());
    CHECK(total == 8000);
}

static void exceptions_reach_the_caller() {
    for (int repeat = 0; repeat < 100; ++repeat) {
        CHECK(throws<std::runtime_error>([&] {
            parallel_for(0, 64, 1, [&](int64_t begin, int64_t end) {
                if (begin <= repeat % 64 && repeat % 64 < end) throw std::runtime_error("from a chunk");
            });
        }));
        covers_each_index_once(100, 1);
    }
}

static void a_forked_child_starts_its_own_workers() {
    covers_each_index_once(1000, 1);
    const pid_t child = fork();
    if (child == 0) {
        alarm(10);
        for (int i = 0; i < 100; ++i) covers_each_index_once(1000, 1);
        set_num_threads(2);
        covers_each_index_once(1000, 1);
        std::exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    covers_each_index_once(1000, 1);
}

static void several_threads_may_call_at_once() {
    std::vector<std::thread> callers;
    for (int t = 0; t < 4; ++t)
        callers.emplace_back([t] {
            for (int i = 0; i < 300; ++i) {
                covers_each_index_once(500, 3);
                if (t == 0 && i % 50 == 0) set_num_threads(1 + i / 50);
            }
        });
    for (auto& caller : callers) caller.join();
}

int main() {
    alarm(60);  // a lost wake-up fails the test instead of hanging it
    set_num_threads(4);
    CHECK(num_threads() == 4);
    CHECK(throws<Error>([] { set_num_threads(0); }));
    for (int64_t n : {1, 2, 3, 10, 1000, 100003})
        for (int64_t grain : {1, 2, 7, 1000}) covers_each_index_once(n, grain);
    for (int i = 0; i < 20000; ++i) {
        std::atomic<int64_t> sum{0};
        parallel_for(0, 4, 1, [&](int64_t begin, int64_t end) { sum += end - begin; });
        CHECK(sum == 4);
    }
    nested_regions_run_serially();
    exceptions_reach_the_caller();
    a_forked_child_starts_its_own_workers();
    for (int n : {1, 8, 2, 5, 1, 3}) {
        set_num_threads(n);
        covers_each_index_once(1000, 1);
    }
    several_threads_may_call_at_once();
}
