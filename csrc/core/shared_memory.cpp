#include "core/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <map>
#include <random>
#include <utility>

#include "core/error.h"

namespace flb {

namespace {

constexpr size_t kHeader = 64;  // of memory that counts its holders; keeps the data aligned

struct Header {
    std::atomic<uint32_t> holders;
};
static_assert(sizeof(Header) <= kHeader && std::atomic<uint32_t>::is_always_lock_free);

class Descriptor {
  public:
    explicit Descriptor(int fd) : fd_(fd) {}
    ~Descriptor() {
        if (fd_ >= 0) close(fd_);
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    int get() const { return fd_; }
    int take() { return std::exchange(fd_, -1); }

  private:
    int fd_;
};

[[noreturn]] void fail_with_errno(const char* what, size_t nbytes) {
    const int code = errno;
    fail(code == ENOMEM || code == ENOSPC ? ErrorKind::Memory : ErrorKind::Runtime, what, " of ", nbytes,
         " bytes: ", std::strerror(code),
         code == EMFILE || code == ENFILE
             ? ". Each shared tensor needs a file descriptor: raise the limit (ulimit -n), or call "
               "torch.multiprocessing.set_sharing_strategy('file_system')"
             : "");
}

char* map_memory(int fd, size_t length, int flags = MAP_SHARED) {
    void* base = mmap(nullptr, length, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (base == MAP_FAILED) fail_with_errno("cannot map memory", length);
    return static_cast<char*>(base);
}

// An anonymous file of a fixed size: whoever maps it can rely on its pages.
int make_memory(size_t length) {
    Descriptor fd(memfd_create("flambeau", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (fd.get() < 0 || ftruncate(fd.get(), off_t(length)) != 0)
        fail_with_errno("cannot make shared memory", length);
    fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    return fd.take();
}

// The size of the file, which must be an anonymous one that cannot shrink: touching pages that are gone kills a process.
size_t checked_length(int fd) {
    struct stat found;
    check(fstat(fd, &found) == 0 && found.st_size > 0, "the descriptor received is not shared memory");
    const int seals = fcntl(fd, F_GET_SEALS);
    check(seals >= 0 && (seals & F_SEAL_SHRINK),
          "the descriptor received is not shared memory of a fixed size");
    return size_t(found.st_size);
}

using FileId = std::pair<dev_t, ino_t>;
FileId file_id(int fd) {
    struct stat found;
    check(fstat(fd, &found) == 0, "the descriptor is not a file");
    return {found.st_dev, found.st_ino};
}

// What a shared storage owns.
struct Mapping {
    char* base = nullptr;
    size_t length = 0;
    int fd = -1;
    FileId id{};
    std::string name;
    pid_t process = getpid();
    Storage* replaced = nullptr;  // the memory before it was shared, while others may show it
    bool on_file = false;

    Header* header() const { return reinterpret_cast<Header*>(base); }
};

// Storages of this process on shared memory, so that what is received twice is one storage.
std::map<FileId, Storage*>& by_file() {
    static auto* table = new std::map<FileId, Storage*>();
    return *table;
}
std::map<std::string, Storage*>& by_name() {
    static auto* table = new std::map<std::string, Storage*>();
    return *table;
}

std::string path_of(const std::string& name) { return "/dev/shm" + name; }

void release_mapping(void* owner) {
    auto* mapping = static_cast<Mapping*>(owner);
    if (mapping->fd >= 0) by_file().erase(mapping->id);
    if (!mapping->name.empty()) {
        by_name().erase(mapping->name);
        if (mapping->process == getpid() && mapping->header()->holders.fetch_sub(1) == 1) {
            unlink(path_of(mapping->name).c_str());
            if (name_removed) name_removed(mapping->name);
        }
    }
    munmap(mapping->base, mapping->length);
    if (mapping->fd >= 0) close(mapping->fd);
    if (mapping->replaced) release_when_unused(mapping->replaced);
    delete mapping;
}

Mapping* mapping_of(const Storage* storage) {
    return storage->release == release_mapping ? static_cast<Mapping*>(storage->owner) : nullptr;
}

Storage* adopt(Mapping* mapping, size_t skipped, size_t nbytes) {
    Storage* storage = adopt_storage(mapping->base + skipped, nbytes, release_mapping, mapping);
    storage->shared = true;
    return storage;
}

// Puts the storage's bytes into the mapping. The old memory stays where buffers and arrays still show it.
void move_into(Storage* storage, Mapping* mapping, size_t skipped) {
    if (const Mapping* before = mapping_of(storage)) {
        if (before->fd >= 0) by_file().erase(before->id);
        by_name().erase(before->name);
    }
    std::memcpy(mapping->base + skipped, storage->data, storage->nbytes);
    Storage* old = adopt_storage(storage->data, storage->nbytes, storage->release, storage->owner);
    storage->data = mapping->base + skipped;
    storage->release = release_mapping;
    storage->owner = mapping;
    storage->read_only = false;
    storage->resizable = false;
    storage->shared = true;
    if (storage->exports) mapping->replaced = old;
    else release_when_unused(old);
}

// Storages without bytes have nothing to share. The same goes for meta, which has no memory.
bool nothing_to_share(Storage* storage) {
    if (storage->nbytes && storage->device != DeviceType::Meta) return false;
    storage->shared = true;
    return true;
}

std::string new_name() {
    static std::random_device random;
    return join("/flambeau_", getpid(), "_", random(), "_", random());
}

}  // namespace

void (*name_removed)(const std::string& name) = nullptr;

int share_by_descriptor(Storage* storage) {
    if (const Mapping* mapping = mapping_of(storage); mapping && mapping->fd >= 0) return mapping->fd;
    if (nothing_to_share(storage)) return -1;
    Descriptor fd(make_memory(storage->nbytes));
    auto* mapping = new Mapping();
    mapping->length = storage->nbytes;
    try {
        mapping->base = map_memory(fd.get(), storage->nbytes);
        mapping->id = file_id(fd.get());
    } catch (...) {
        delete mapping;
        throw;
    }
    mapping->fd = fd.take();
    move_into(storage, mapping, 0);
    by_file()[mapping->id] = storage;
    return mapping->fd;
}

void share_storage(Storage* storage) {
    if (!storage->shared) share_by_descriptor(storage);
}

Storage* storage_by_descriptor(int descriptor, size_t nbytes) {
    Descriptor fd(descriptor);
    const size_t length = checked_length(fd.get());
    check(nbytes > 0 && nbytes <= length, "shared memory of ", length, " bytes was received where ", nbytes,
          " bytes were announced");
    const FileId id = file_id(fd.get());
    if (const auto found = by_file().find(id); found != by_file().end() && found->second->nbytes == nbytes) {
        retain(found->second);
        return found->second;
    }
    auto* mapping = new Mapping();
    mapping->length = nbytes;
    mapping->id = id;
    try {
        mapping->base = map_memory(fd.get(), nbytes);
    } catch (...) {
        delete mapping;
        throw;
    }
    mapping->fd = fd.take();
    return by_file()[id] = adopt(mapping, 0, nbytes);
}

std::string share_by_name(Storage* storage) {
    Mapping* mapping = mapping_of(storage);
    if (!mapping || mapping->name.empty()) {
        if (nothing_to_share(storage)) return "";
        const std::string name = new_name();
        const size_t length = storage->nbytes + kHeader;
        Descriptor fd(open(path_of(name).c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
        if (fd.get() < 0) fail_with_errno("cannot make shared memory", length);
        mapping = new Mapping();
        mapping->length = length;
        mapping->name = name;
        try {
            // Asks for the pages now: /dev/shm may be smaller than what is wanted, and touching what it lacks kills.
            errno = posix_fallocate(fd.get(), 0, off_t(length));
            if (errno) fail_with_errno("cannot make shared memory in /dev/shm", length);
            mapping->base = map_memory(fd.get(), length);
        } catch (...) {
            unlink(path_of(name).c_str());
            delete mapping;
            throw;
        }
        new (mapping->base) Header{{1}};
        move_into(storage, mapping, kHeader);
        by_name()[name] = storage;
    }
    mapping->header()->holders.fetch_add(1);
    return mapping->name;
}

Storage* storage_by_name(const std::string& name, size_t nbytes) {
    check_as(ErrorKind::Value, name.rfind("/flambeau_", 0) == 0 && name.find('/', 1) == std::string::npos,
             "not a name of shared memory: ", name);
    if (const auto found = by_name().find(name);
        found != by_name().end() && found->second->nbytes == nbytes) {
        mapping_of(found->second)->header()->holders.fetch_sub(1);  // one holder per process
        retain(found->second);
        return found->second;
    }
    Descriptor fd(open(path_of(name).c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
    check(fd.get() >= 0, "unable to open shared memory object <", name, ">: ", std::strerror(errno));
    struct stat status;
    check(fstat(fd.get(), &status) == 0 && nbytes > 0 && nbytes <= SIZE_MAX - kHeader &&
              size_t(status.st_size) >= nbytes + kHeader,
          "shared memory <", name, "> is smaller than the ", nbytes, " bytes announced");
    auto* mapping = new Mapping();
    mapping->length = nbytes + kHeader;
    mapping->name = name;
    try {
        mapping->base = map_memory(fd.get(), mapping->length);
    } catch (...) {
        delete mapping;
        throw;
    }
    return by_name()[name] = adopt(mapping, kHeader, nbytes);
}

// ---- segments -----------------------------------------------------------------------------------------------------------

struct Segment {
    char* base;
    size_t length;
    int fd;                   // until it has been sent
    int64_t id;               // of those this process made; readers have -1
    uint32_t references = 1;  // storages and lists of this process that have it
    pid_t process = getpid();

    std::atomic<uint32_t>& holders() const { return reinterpret_cast<Header*>(base)->holders; }
};

namespace {

// Free segments beyond these bounds are given up, the oldest first; a few are kept however large they are.
constexpr size_t kFreeSegments = 32, kFreeBytes = size_t(1) << 28, kAlwaysKept = 4;

std::vector<Segment*>& own_segments() {
    static auto* list = new std::vector<Segment*>();
    return *list;
}
std::vector<int64_t>& given_up() {
    static auto* list = new std::vector<int64_t>();
    return *list;
}

void release_segment_storage(void* owner) {
    auto* segment = static_cast<Segment*>(owner);
    if (segment->process == getpid()) segment->holders().fetch_sub(1, std::memory_order_release);
    release_segment(segment);
}

Segment* segment_of(const Storage* storage) {
    return storage->release == release_segment_storage ? static_cast<Segment*>(storage->owner) : nullptr;
}

Storage* adopt(Segment* segment, size_t nbytes) {
    ++segment->references;
    Storage* storage = adopt_storage(segment->base + kHeader, nbytes, release_segment_storage, segment);
    storage->shared = true;
    return storage;
}

bool is_free(const Segment* segment) { return segment->holders().load(std::memory_order_acquire) == 0; }

void trim_segments() {
    size_t count = 0, bytes = 0;
    auto& list = own_segments();
    for (size_t i = list.size(); i-- > 0;) {
        Segment* segment = list[i];
        if (!is_free(segment)) continue;
        if (count < kAlwaysKept || (count < kFreeSegments && bytes + segment->length <= kFreeBytes)) {
            ++count;
            bytes += segment->length;
            continue;
        }
        if (segment->fd < 0) given_up().push_back(segment->id);
        list.erase(list.begin() + std::ptrdiff_t(i));
        release_segment(segment);
    }
}

// Sizes in steps of an eighth, so that batches of nearly the same size fit each other's segments.
size_t segment_length(size_t nbytes) {
    size_t step = 4096;
    while (step * 8 < nbytes) step *= 2;
    return (nbytes + step - 1) / step * step;
}

}  // namespace

Storage* storage_in_segment(size_t nbytes) {
    check(nbytes <= SIZE_MAX / 4, "storage_in_segment: ", nbytes, " bytes are too many");
    auto& list = own_segments();
    if (!list.empty() && list.front()->process != getpid())
        list.clear();  // those of the process we were forked from
    const size_t wanted = segment_length(nbytes + kHeader);
    Segment* best = nullptr;
    for (Segment* segment : list)
        if (segment->length >= wanted && segment->length <= 2 * wanted && is_free(segment) &&
            (!best || segment->length < best->length))
            best = segment;
    if (best) best->holders().fetch_add(1);
    if (!best || list.size() > kFreeSegments) trim_segments();
    if (!best) {
        static int64_t next_id = 0;
        Descriptor fd(make_memory(wanted));
        best = new Segment{map_memory(fd.get(), wanted), wanted, -1, next_id++};
        best->fd = fd.take();
        new (best->base) Header{{1}};
        list.push_back(best);
    }
    return adopt(best, nbytes);
}

bool send_segment(Storage* storage, SegmentHandle* handle) {
    Segment* segment = segment_of(storage);
    if (!segment || segment->id < 0 || segment->process != getpid()) return false;
    segment->holders().fetch_add(1);
    *handle = {segment->id, segment->length, std::exchange(segment->fd, -1)};
    return true;
}

void unsend_segment(Storage* storage) {
    if (const Segment* segment = segment_of(storage); segment && segment->id >= 0)
        segment->holders().fetch_sub(1);
}

std::vector<int64_t> segments_given_up() { return std::exchange(given_up(), {}); }

Segment* map_segment(int descriptor, size_t length) {
    Descriptor fd(descriptor);
    check(length > kHeader && checked_length(fd.get()) == length,
          "a segment of shared memory does not have the ", length, " bytes announced");
    return new Segment{map_memory(fd.get(), length), length, -1, -1};
}

void release_segment(Segment* segment) {
    if (--segment->references) return;
    munmap(segment->base, segment->length);
    if (segment->fd >= 0) close(segment->fd);
    delete segment;
}

Storage* storage_on_segment(Segment* segment, size_t nbytes) {
    check(nbytes <= segment->length - kHeader, "a segment of ", segment->length, " bytes cannot hold ",
          nbytes);
    return adopt(segment, nbytes);
}

SharedBy shared_by(const Storage* storage) {
    if (segment_of(storage)) return SharedBy::Segment;
    const Mapping* mapping = mapping_of(storage);
    if (!mapping || mapping->on_file) return SharedBy::Nothing;
    return mapping->name.empty() ? SharedBy::Descriptor : SharedBy::Name;
}

// ---- files --------------------------------------------------------------------------------------------------------------

Storage* storage_on_file(const std::string& path, bool shared, size_t nbytes) {
    Descriptor fd(open(path.c_str(), (shared ? O_RDWR | O_CREAT : O_RDONLY) | O_CLOEXEC, 0600));
    check(fd.get() >= 0, "unable to open file <", path, "> in read", shared ? "-write" : "-only",
          " mode: ", std::strerror(errno));
    struct stat status;
    check(fstat(fd.get(), &status) == 0 && S_ISREG(status.st_mode), "<", path,
          "> is not a file that can be mapped");
    const size_t length = size_t(status.st_size);
    if (nbytes > length) {
        check(shared, "file <", path, "> size is smaller than the required mapping size: it has ", length,
              " bytes, and ", nbytes, " were asked for");
        check(ftruncate(fd.get(), off_t(nbytes)) == 0, "unable to resize file <", path, "> to ", nbytes,
              " bytes: ", std::strerror(errno));
    }
    if (nbytes == 0) nbytes = length;
    if (nbytes == 0) return new_storage(0, DeviceType::Cpu);
    auto* mapping = new Mapping();
    mapping->length = nbytes;
    mapping->on_file = true;
    try {
        mapping->base = map_memory(fd.get(), nbytes, shared ? MAP_SHARED : MAP_PRIVATE);
    } catch (...) {
        delete mapping;
        throw;
    }
    Storage* storage = adopt(mapping, 0, nbytes);
    storage->shared = shared;
    return storage;
}

}  // namespace flb
