// Every size is rounded up to a class, and a freed block waits in its class's list for the next request of that
// class. The class follows from the size alone, so a block carries no header while it is in use.
//
//   small   up to 4 KiB, steps of 64 bytes; carved from slabs. Only now and then, when much of it waits, or when asked to,
//           is it counted which slabs hold nothing but waiting blocks: those go back to the system
//   medium  up to 256 KiB, 8 classes per doubling; from the C library
//   large   above, 8 classes per doubling; each its own mapping, so that giving it back works. The rounding wastes
//           addresses, not memory: pages never touched are never there.
//
// Medium and large blocks that wait are also on one list by age; above the limit the oldest go back to the system.
// There are no locks (callers hold the interpreter lock), so nothing can be left locked in a forked child.
#include "core/allocator.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <new>

#include "core/error.h"

namespace flb {
namespace {

constexpr size_t kAlign = 64;
constexpr size_t kSmallMax = size_t(4) << 10;
constexpr size_t kMediumMax = size_t(256) << 10;
constexpr size_t kSlab = size_t(256) << 10;
constexpr size_t kSmallWaiting = size_t(32)
                                 << 20;  // bytes in small blocks that may wait before slabs are looked at
constexpr size_t kPage = size_t(4) << 10;
constexpr size_t kHugePage = size_t(2) << 20;
#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kSizeMax = size_t(1) << 39;  // AddressSanitizer ends the process above 1 TiB
#else
constexpr size_t kSizeMax = size_t(1) << 47;  // the address space of a process
#endif
constexpr int kSmallClasses = kSmallMax / kAlign + 1;
constexpr int kSteps = 8;  // classes per doubling
constexpr int kLargeClasses = (47 - 12) * kSteps + 1;

// What a waiting block holds in its own first bytes.
struct SmallBlock {
    SmallBlock* next;
};
// At the start of every slab, which is aligned to its size: a block's address leads to it.
struct alignas(kAlign) Slab {
    Slab* next;
    size_t carved,
        waiting;  // bytes in blocks; `waiting` is counted by give_slabs_back only, and 0 between its calls
};
Slab* slab_of(SmallBlock* block) { return reinterpret_cast<Slab*>(uintptr_t(block) & ~uintptr_t(kSlab - 1)); }
struct Block {
    Block *newer, *older;            // by age, over all classes
    Block *class_next, *class_prev;  // within the class, the most recent first
    int size_class;
};

struct State {
    SmallBlock* small[kSmallClasses];
    Slab* slabs;  // the newest, which blocks are carved from, first
    char* slab_begin;
    char* slab_end;
    size_t small_waiting;  // bytes
    size_t look_at;        // small_waiting that makes it worth looking for slabs to give back
    Block* by_class[kLargeClasses];
    Block *newest, *oldest;
    size_t waiting;  // bytes in medium and large blocks that wait
    size_t limit;
    MemoryStats stats;
};
State state;  // zero-initialised before any code runs, and never destroyed

size_t memory_of_machine() {
    size_t bytes = size_t(sysconf(_SC_PHYS_PAGES)) * size_t(sysconf(_SC_PAGESIZE));
    // A container's limit, version 2 then version 1; "max" does not parse and means none.
    for (const char* path : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
        if (FILE* file = std::fopen(path, "re")) {
            unsigned long long limit;
            if (std::fscanf(file, "%llu", &limit) == 1) bytes = std::min<size_t>(bytes, limit);
            std::fclose(file);
        }
    }
    return bytes;
}

size_t limit() {
    if (!state.limit) state.limit = std::min<size_t>(memory_of_machine() / 8, size_t(2) << 30);
    return state.limit;
}

// Classes 0, 1, 2 ... of medium and large sizes: 4 KiB * {9, 10, ... 16}/8, then the same doubled, and so on.
struct SizeClass {
    int index;
    size_t bytes;
};
SizeClass size_class(size_t nbytes) {
    const int doubling = std::bit_width(nbytes - 1) - 1;  // 2^doubling < nbytes <= 2^(doubling + 1)
    const size_t step = size_t(1) << (doubling - 3);
    const size_t steps = (nbytes + step - 1) / step;  // 9 .. 16
    return {(doubling - 12) * kSteps + int(steps) - (kSteps + 1), steps * step};
}
size_t class_bytes(int index) { return size_t(index % kSteps + kSteps + 1) << (index / kSteps + 12 - 3); }

[[noreturn, gnu::cold, gnu::noinline]] void out_of_memory(size_t nbytes) {
    fail(ErrorKind::Memory, "DefaultCPUAllocator: can't allocate memory: you tried to allocate ", nbytes,
         " bytes.");
}

size_t whole_pages(size_t bytes) { return (bytes + kPage - 1) & ~(kPage - 1); }

void* map_aligned(size_t bytes, size_t align) {
    bytes = whole_pages(bytes);
    const size_t span = bytes + (align - kPage);
    void* base = mmap(nullptr, span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) return nullptr;
    const uintptr_t begin = uintptr_t(base), start = (begin + align - 1) & ~(align - 1);
    if (start > begin) munmap(base, start - begin);
    if (begin + span > start + bytes)
        munmap(reinterpret_cast<void*>(start + bytes), begin + span - start - bytes);
    return reinterpret_cast<void*>(start);
}

// Blocks begin at different places of their first page: operands a multiple of a page apart would meet in the same few sets
// of the caches, and a processor that compares the low twelve bits of addresses takes one for the other.
void* map_large(size_t bytes) {
    static size_t stagger = 0;
    stagger = (stagger + 20 * kAlign) % kPage;
    const size_t align = bytes >= kHugePage ? kHugePage : kPage;
    char* block = static_cast<char*>(map_aligned(bytes + stagger, align));
    if (!block) return nullptr;
    // Only advice: a kernel without huge pages refuses it, and all works as before.
    if (align == kHugePage) madvise(block, whole_pages(bytes + stagger), MADV_HUGEPAGE);
    return block + stagger;
}

void* from_system(size_t bytes) {
    return bytes > kMediumMax ? map_large(bytes) : std::aligned_alloc(kAlign, bytes);
}
void to_system(void* pointer, size_t bytes) {
    if (bytes > kMediumMax) {
        const size_t stagger = uintptr_t(pointer) % kPage;
        munmap(static_cast<char*>(pointer) - stagger, whole_pages(bytes + stagger));
    } else {
        std::free(pointer);
    }
}

void unlink(Block* block) {
    (block->newer ? block->newer->older : state.newest) = block->older;
    (block->older ? block->older->newer : state.oldest) = block->newer;
    (block->class_prev ? block->class_prev->class_next : state.by_class[block->size_class]) =
        block->class_next;
    if (block->class_next) block->class_next->class_prev = block->class_prev;
    const size_t bytes = class_bytes(block->size_class);
    state.waiting -= bytes;
}

void link(void* pointer, SizeClass c) {
    Block* block = static_cast<Block*>(pointer);
    Block*& head = state.by_class[c.index];
    *block = {nullptr, state.newest, head, nullptr, c.index};
    if (head) head->class_prev = block;
    (state.newest ? state.newest->newer : state.oldest) = block;
    head = state.newest = block;
    state.waiting += c.bytes;
}

void shrink_to(size_t bytes) {
    while (state.waiting > bytes) {
        Block* block = state.oldest;
        unlink(block);
        to_system(block, class_bytes(block->size_class));
    }
}

void count_allocation(size_t bytes) {
    MemoryStats& s = state.stats;
    s.in_use += bytes;
    if (s.in_use > s.peak) s.peak = s.in_use;
    ++s.allocations;
}

void wait_small(void* pointer, size_t bytes) {
    SmallBlock* block = static_cast<SmallBlock*>(pointer);
    block->next = state.small[bytes / kAlign];
    state.small[bytes / kAlign] = block;
    state.small_waiting += bytes;
}

// Unmaps the slabs whose blocks all wait, but for the one that is being carved.
[[gnu::noinline]] void give_slabs_back() noexcept {
    for (size_t i = 1; i < size_t(kSmallClasses); ++i)
        for (SmallBlock* block = state.small[i]; block; block = block->next)
            slab_of(block)->waiting += i * kAlign;
    const auto idle = [](const Slab* slab) { return slab != state.slabs && slab->waiting == slab->carved; };
    for (size_t i = 1; i < size_t(kSmallClasses); ++i)
        for (SmallBlock** link = &state.small[i]; *link;) {
            if (idle(slab_of(*link))) *link = (*link)->next;
            else link = &(*link)->next;
        }
    for (Slab** link = &state.slabs; *link;) {
        Slab* slab = *link;
        if (idle(slab)) {
            state.small_waiting -= slab->waiting;
            *link = slab->next;
            munmap(slab, kSlab);
        } else {
            slab->waiting = 0;
            link = &slab->next;
        }
    }
    // What is left lies scattered: no further look before as much again waits.
    state.look_at = std::max(kSmallWaiting, 2 * state.small_waiting);
}

[[gnu::noinline]] void* carve(size_t bytes) {
    if (size_t(state.slab_end - state.slab_begin) < bytes) {
        // What is left of the old slab serves the class that it fits exactly: both are multiples of 64.
        const size_t left = size_t(state.slab_end - state.slab_begin);
        if (left) {
            state.slabs->carved += left;
            wait_small(state.slab_begin, left);
        }
        state.slab_begin = state.slab_end = nullptr;
        char* memory = static_cast<char*>(map_aligned(kSlab, kSlab));
        if (!memory) out_of_memory(bytes);
        state.slabs = new (memory) Slab{state.slabs, 0, 0};
        state.slab_begin = memory + sizeof(Slab);
        state.slab_end = memory + kSlab;
    }
    void* block = state.slab_begin;
    state.slab_begin += bytes;
    state.slabs->carved += bytes;
    count_allocation(bytes);
    return block;
}

[[gnu::noinline]] void* allocate_large(size_t nbytes) {
    if (nbytes > kSizeMax) out_of_memory(nbytes);
    const SizeClass c = size_class(nbytes);
    void* pointer = state.by_class[c.index];
    if (pointer) {
        unlink(static_cast<Block*>(pointer));
        ++state.stats.reuses;
    } else {
        pointer = from_system(c.bytes);
        if (!pointer) {
            empty_cache();
            pointer = from_system(c.bytes);
            if (!pointer) out_of_memory(nbytes);
        }
    }
    count_allocation(c.bytes);
    return pointer;
}

[[gnu::noinline]] void deallocate_large(void* pointer, size_t nbytes) noexcept {
    const SizeClass c = size_class(nbytes);
    state.stats.in_use -= c.bytes;
    if (c.bytes > limit()) {
        to_system(pointer, c.bytes);
        return;
    }
    shrink_to(limit() - c.bytes);
    link(pointer, c);
}

}  // namespace

#if defined(__SANITIZE_ADDRESS__)

// Exact sizes and no reuse, so that AddressSanitizer sees every access outside a block or after its end.
void* allocate(size_t nbytes) {
    if (nbytes == 0) return nullptr;
    void* pointer = nullptr;
    if (nbytes > kSizeMax || posix_memalign(&pointer, kAlign, nbytes)) out_of_memory(nbytes);
    count_allocation(nbytes);
    return pointer;
}
void deallocate(void* pointer, size_t nbytes) noexcept {
    if (!pointer) return;
    state.stats.in_use -= nbytes;
    std::free(pointer);
}

#else

void* allocate(size_t nbytes) {
    if (nbytes - 1 >= kSmallMax) return nbytes ? allocate_large(nbytes) : nullptr;
    const size_t index = (nbytes + kAlign - 1) / kAlign, bytes = index * kAlign;
    SmallBlock* block = state.small[index];
    if (__builtin_expect(!block, 0)) return carve(bytes);
    state.small[index] = block->next;
    state.small_waiting -= bytes;
    ++state.stats.reuses;
    count_allocation(bytes);
    return block;
}

void deallocate(void* pointer, size_t nbytes) noexcept {
    if (nbytes - 1 >= kSmallMax) {
        if (pointer) deallocate_large(pointer, nbytes);
        return;
    }
    const size_t bytes = (nbytes + kAlign - 1) & ~(kAlign - 1);
    wait_small(pointer, bytes);
    state.stats.in_use -= bytes;
    if (__builtin_expect(state.small_waiting > state.look_at, 0)) give_slabs_back();
}

#endif

void empty_cache() noexcept {
    shrink_to(0);
    give_slabs_back();
}

void set_cache_limit(size_t nbytes) noexcept {
    state.limit = std::max<size_t>(nbytes, 1);  // 0 stands for "not asked yet"
    shrink_to(nbytes);
}

MemoryStats memory_stats() noexcept {
    MemoryStats stats = state.stats;
    stats.cached = state.waiting + state.small_waiting;
    return stats;
}

}  // namespace flb
