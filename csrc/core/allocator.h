// The caching allocator: 64-byte aligned blocks; small ones by size class, large ones kept and reused.
// Not thread-safe by itself: every call is made while holding the interpreter lock.
#pragma once
#include <cstddef>
#include <cstdint>

namespace flb {

struct MemoryStats {
    uint64_t in_use;       // bytes in blocks handed out
    uint64_t cached;       // bytes kept for reuse
    uint64_t peak;         // largest in_use so far
    uint64_t allocations;  // calls of allocate
    uint64_t reuses;       // of these, answered from the cache
};

// Never returns null: raises Error(Memory) with PyTorch's "DefaultCPUAllocator: can't allocate memory" phrase and
// the size asked for. nbytes == 0 gives a null pointer.
void* allocate(size_t nbytes);
void deallocate(void* pointer, size_t nbytes) noexcept;  // the same nbytes as given to allocate
void empty_cache() noexcept;
void set_cache_limit(size_t nbytes) noexcept;  // upper bound of `cached`
MemoryStats memory_stats() noexcept;

}  // namespace flb
