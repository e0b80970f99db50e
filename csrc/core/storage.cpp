#include "core/storage.h"

#include <cstring>
#include <new>
#include <utility>
#include <vector>

#include "core/allocator.h"
#include "core/error.h"

namespace flb {

namespace {
// Storage headers are as numerous as tensors: a free list spares a trip through malloc.
constexpr int kMaxFree = 1024;
Storage* free_headers[kMaxFree];
int free_count = 0;

Storage* new_header() {
    if (free_count) return new (free_headers[--free_count]) Storage();
    return new Storage();
}
}  // namespace

Storage* new_storage(size_t nbytes, DeviceType device) {
    void* data = device == DeviceType::Meta ? nullptr : allocate(nbytes);
    Storage* storage = new_header();
    storage->device = device;
    storage->data = data;
    storage->nbytes = nbytes;
    return storage;
}

Storage* adopt_storage(void* data, size_t nbytes, void (*release)(void*), void* owner) {
    Storage* storage = new_header();
    storage->data = data;
    storage->nbytes = nbytes;
    storage->release = release;
    storage->owner = owner;
    storage->resizable = false;
    return storage;
}

int MemoryInUse::users = 0;
bool MemoryInUse::waiting = false;

namespace {
struct Waiting {
    std::vector<std::pair<void*, size_t>> blocks;
    std::vector<Storage*> storages;
};
Waiting& waiting_memory() {
    static auto* w = new Waiting();
    return *w;
}
}  // namespace

void MemoryInUse::free_waiting() noexcept {
    waiting = false;
    Waiting now;  // releasing foreign memory can run anything, this function too
    std::swap(now, waiting_memory());
    for (const auto& [data, nbytes] : now.blocks) deallocate(data, nbytes);
    for (Storage* storage : now.storages) release(storage);
}

void release_when_unused(Storage* storage) {
    if (MemoryInUse::users == 0) {
        release(storage);
        return;
    }
    waiting_memory().storages.push_back(storage);
    MemoryInUse::waiting = true;
}

static void free_block(void* data, size_t nbytes) {
    if (MemoryInUse::users == 0) {
        deallocate(data, nbytes);
        return;
    }
    waiting_memory().blocks.push_back({data, nbytes});
    MemoryInUse::waiting = true;
}

void own_memory(Storage* storage) {
    check(storage->exports == 0,
          "the memory is read-only and other objects still show it; write to a clone() instead");
    void* data = allocate(storage->nbytes);
    if (storage->nbytes) std::memcpy(data, storage->data, storage->nbytes);
    Storage* lent = adopt_storage(storage->data, storage->nbytes, storage->release, storage->owner);
    storage->data = data;
    storage->release = nullptr;
    storage->owner = nullptr;
    storage->read_only = false;
    storage->resizable = true;
    release_when_unused(lent);
}

void resize_storage(Storage* storage, size_t nbytes) {
    check(storage->resizable, "Trying to resize storage that is not resizable");
    check(storage->exports == 0, "Trying to resize storage that is not resizable: ", storage->exports,
          " buffer(s) or array(s) still show its memory");
    if (storage->device == DeviceType::Meta) {
        storage->nbytes = nbytes;
        return;
    }
    void* data = allocate(nbytes);
    const size_t kept = nbytes < storage->nbytes ? nbytes : storage->nbytes;
    if (kept) std::memcpy(data, storage->data, kept);
    if (storage->data) free_block(storage->data, storage->nbytes);
    storage->data = data;
    storage->nbytes = nbytes;
}

void delete_storage(Storage* storage) {
    if (storage->release) storage->release(storage->owner);
    else if (storage->data) deallocate(storage->data, storage->nbytes);
    if (storage->version) release_version(storage->version);
    if (free_count < kMaxFree) free_headers[free_count++] = storage;
    else delete storage;
}

}  // namespace flb
