// Storage: a reference-counted block of bytes that any number of tensors view, and its version counter.
// All counts are changed only while holding the interpreter lock.
#pragma once
#include <cstddef>
#include <cstdint>

namespace flb {

enum class DeviceType : uint8_t { Cpu, Meta, Cuda, Mps, Xpu, Other };

// The place in a user's program that last wrote: a code object (kept alive) and an instruction in it.
// Formatted only when an error is raised.
struct Site {
    void* code = nullptr;  // PyCodeObject*, owned by whoever holds the Site
    int instruction = 0;
};

// Counts in-place writes. Shared by a base, its views and what `detach` returns; `.data` gets one of its own.
struct Version {
    uint32_t value = 0;
    uint32_t references = 1;
    Site writer;
    const char* writer_name = nullptr;  // the operator's name: lives as long as the process
};
void release_version(Version* version);

struct Storage {
    uint32_t references = 1;
    DeviceType device = DeviceType::Cpu;
    bool resizable = true;
    int exports = 0;  // living buffers on the memory: it must not move
    void* data = nullptr;
    size_t nbytes = 0;
    Version* version = nullptr;              // made at the first in-place write or save
    void (*release)(void* owner) = nullptr;  // foreign memory: called instead of deallocate
    void* owner = nullptr;
    void* python = nullptr;  // the living UntypedStorage object, if any (not owned)
    bool read_only = false;  // foreign memory that must not be written: see own_memory
    bool shared = false;     // lies in memory that other processes see
};

Storage* new_storage(size_t nbytes, DeviceType device);  // uninitialised bytes
Storage* adopt_storage(void* data, size_t nbytes, void (*release)(void*), void* owner);
// Gives up one reference; the storage of a tensor that others may be reading, see [Memory in use], waits.
void release_when_unused(Storage* storage);
// Before the first write to memory that must not be written (a bytes object, a file mapped for reading): the storage takes
// a copy of its own. Whoever lent the memory never sees a write, and the processor never refuses one.
void own_memory(Storage* storage);
void resize_storage(Storage* storage, size_t nbytes);  // keeps the common bytes; raises if not resizable
void share_storage(Storage* storage);                  // moves it into memory that forked processes share

// Note [Memory in use]: while a kernel runs without the interpreter lock, or a function hands out elements one by one,
// other code may resize the storage it reads or replace a tensor's storage. The old memory then lives on until nobody is
// inside such a section, so that an address once proved stays good. Every kernel works with its own copy of sizes and
// strides for the same reason.
class MemoryInUse {
  public:
    MemoryInUse() noexcept { ++users; }
    ~MemoryInUse() {
        if (--users == 0 && waiting) free_waiting();
    }
    MemoryInUse(const MemoryInUse&) = delete;
    MemoryInUse& operator=(const MemoryInUse&) = delete;

    static int users;     // changed only while holding the interpreter lock
    static bool waiting;  // some memory waits to be freed

  private:
    static void free_waiting() noexcept;
};
void delete_storage(Storage* storage);

inline void retain(Storage* storage) { ++storage->references; }
inline void release(Storage* storage) {
    if (storage && --storage->references == 0) delete_storage(storage);
}

}  // namespace flb
