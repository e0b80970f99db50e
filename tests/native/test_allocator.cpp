#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "check.h"
#include "core/allocator.h"
#include "core/error.h"

using namespace flb;

static void blocks_are_aligned_and_disjoint() {
    std::vector<std::pair<unsigned char*, size_t>> blocks;
    for (size_t n : {1, 63, 64, 65, 4095, 4096, 4097, 5000, 8192, 8193, 262143, 262144, 262145, 300000, 2097152, 5000000})
        for (int repeat = 0; repeat < 3; ++repeat) {
            auto* p = static_cast<unsigned char*>(allocate(n));
            CHECK(uintptr_t(p) % 64 == 0);
            std::memset(p, int(blocks.size()), n);
            blocks.push_back({p, n});
        }
    for (size_t i = 0; i < blocks.size(); ++i)
        for (size_t k = 0; k < blocks[i].second; ++k) CHECK(blocks[i].first[k] == (unsigned char)(i));
    for (auto [p, n] : blocks) deallocate(p, n);
    CHECK(memory_stats().in_use == 0);
    CHECK(allocate(0) == nullptr);
    deallocate(nullptr, 0);
}

static void random_sizes_keep_their_contents() {
    uint64_t seed = 1;
    auto next = [&] { return (seed = seed * 6364136223846793005u + 1442695040888963407u) >> 33; };
    std::vector<std::pair<uint64_t*, size_t>> live(64, {nullptr, 0});
    for (int i = 0; i < 20000; ++i) {
        auto& [p, n] = live[next() % live.size()];
        if (p) {
            CHECK(p[0] == uint64_t(uintptr_t(p)) && p[n / 8 - 1] == (n >= 16 ? n : uint64_t(uintptr_t(p))));
            deallocate(p, n);
        }
        n = 8 + next() % (size_t(8) << (next() % 17));
        p = static_cast<uint64_t*>(allocate(n));
        p[n / 8 - 1] = n;
        p[0] = uint64_t(uintptr_t(p));
    }
    for (auto [p, n] : live)
        if (p) deallocate(p, n);
    CHECK(memory_stats().in_use == 0);
}

static void impossible_sizes_raise() {
    for (size_t n : {size_t(1) << 46, size_t(1) << 60, ~size_t(0), ~size_t(0) - 4096}) {
        bool raised = false;
        try {
            allocate(n);
        } catch (const Error& error) {
            raised = error.kind == ErrorKind::Memory &&
                     std::string(error.what()).find("you tried to allocate " + std::to_string(n) + " bytes") !=
                         std::string::npos;
        }
        CHECK(raised);
    }
}

#if !defined(__SANITIZE_ADDRESS__)
static void freed_blocks_come_back() {
    for (size_t n : {size_t(100), size_t(100000), size_t(10) << 20}) {
        void* p = allocate(n);
        deallocate(p, n);
        const uint64_t reuses = memory_stats().reuses;
        CHECK(allocate(n) == p);
        CHECK(memory_stats().reuses == reuses + 1);
        deallocate(p, n);
    }
}

static void the_cache_is_bounded_and_gives_back_the_oldest() {
    empty_cache();
    const uint64_t small = memory_stats().cached;
    const size_t mb = size_t(1) << 20;
    set_cache_limit(10 * mb);
    std::vector<void*> blocks;
    for (size_t i = 0; i < 8; ++i) blocks.push_back(allocate((2 + i) * mb));
    for (size_t i = 0; i < 8; ++i) {
        deallocate(blocks[i], (2 + i) * mb);
        CHECK(memory_stats().cached - small <= 10 * mb);
    }
    CHECK(memory_stats().cached - small == 9 * mb);  // the one freed last
    void* large = allocate(20 * mb);
    deallocate(large, 20 * mb);                      // larger than the limit: not kept, and evicts nothing
    CHECK(memory_stats().cached - small == 9 * mb);
    empty_cache();
    CHECK(memory_stats().cached == small);
    set_cache_limit(100 * mb);
}

static void slabs_without_living_blocks_go_back() {
    const size_t count = 300000, bytes = 256;  // 77 MB
    std::vector<unsigned char*> blocks;
    for (size_t i = 0; i < count; ++i) {
        blocks.push_back(static_cast<unsigned char*>(allocate(bytes)));
        std::memset(blocks[i], int(i % 251), bytes);
    }
    // Every tenth block lives on in the first tenth: its slabs have to stay, and what they hold with them.
    const auto lives = [&](size_t i) { return i < count / 10 && i % 10 == 0; };
    for (size_t i = 0; i < count; ++i)
        if (!lives(i)) deallocate(blocks[i], bytes);
    CHECK(memory_stats().cached <= size_t(40) << 20);  // the bound of what waits, and a slab
    empty_cache();
    CHECK(memory_stats().cached <= size_t(8) << 20);
    for (size_t i = 0; i < count; ++i)
        if (lives(i))
            for (size_t k = 0; k < bytes; ++k) CHECK(blocks[i][k] == i % 251);
    for (size_t i = 0; i < count; ++i)
        if (lives(i)) deallocate(blocks[i], bytes);
    empty_cache();
    CHECK(memory_stats().cached <= size_t(256) << 10);  // the slab that is being carved
    CHECK(memory_stats().in_use == 0);
    deallocate(allocate(bytes), bytes);
}
#endif

static void a_forked_child_allocates() {
    void* kept = allocate(1 << 20);
    const pid_t child = fork();
    if (child == 0) {
        for (size_t n : {size_t(64), size_t(1) << 20}) deallocate(allocate(n), n);
        deallocate(kept, 1 << 20);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    deallocate(kept, 1 << 20);
}

// Operands of the same shape would otherwise meet in the same sets of the caches.
static void large_blocks_begin_at_different_places_of_a_page() {
    std::vector<void*> blocks;
    std::set<uintptr_t> places;
    for (int i = 0; i < 16; ++i) {
        blocks.push_back(allocate(size_t(3) << 20));
        std::memset(blocks.back(), i, size_t(3) << 20);
        places.insert(uintptr_t(blocks.back()) % 4096);
    }
    CHECK(places.size() >= 12);
    for (void* block : blocks) deallocate(block, size_t(3) << 20);
    empty_cache();
}

int main() {
    blocks_are_aligned_and_disjoint();
    random_sizes_keep_their_contents();
    impossible_sizes_raise();
#if !defined(__SANITIZE_ADDRESS__)
    freed_blocks_come_back();
    the_cache_is_bounded_and_gives_back_the_oldest();
    slabs_without_living_blocks_go_back();
    large_blocks_begin_at_different_places_of_a_page();
#endif
    a_forked_child_allocates();
}
