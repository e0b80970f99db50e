// Memory that several processes map: what `share_memory_` moves a storage into, and what loaders' workers fill.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/storage.h"

namespace flb {

// Note [Shared memory]: a shared storage lives in one of three kinds of memory.
//
//  * By descriptor: an anonymous file (memfd). The kernel counts who has it open or mapped and frees it with the last
//    one, however that one ends. It travels as a descriptor over a Unix socket, and costs one for as long as it lives.
//  * By name: a file in /dev/shm that begins with a count of its holders. It needs no descriptor; whoever lets go last
//    removes the name. Python's resource tracker removes it when the processes died before they could.
//  * A segment: an anonymous file that begins with a count of holders and is used again when that reaches zero. The
//    process that made it keeps it mapped and so do the readers, so that neither touches fresh pages.
//
// A process forked off shares mappings that it never counted itself into: it lets go of them without counting.

// How the storage is shared at present.
enum class SharedBy : uint8_t { Nothing, Descriptor, Name, Segment };
SharedBy shared_by(const Storage* storage);

// Moves the storage into memory by descriptor unless it is there already. The descriptor lives as long as the storage.
int share_by_descriptor(Storage* storage);
// A storage on the memory behind a descriptor, which it takes; the one this process has already, if it has one.
Storage* storage_by_descriptor(int descriptor, size_t nbytes);

// The same with a name. Each call counts a holder: the one who will open it.
std::string share_by_name(Storage* storage);
Storage* storage_by_name(const std::string& name, size_t nbytes);
// Told of names that were removed, so that the resource tracker can forget them.
extern void (*name_removed)(const std::string& name);

// ---- segments

struct Segment;
// A storage in a segment that nobody holds any more, or in a new one.
Storage* storage_in_segment(size_t nbytes);
struct SegmentHandle {
    int64_t id;
    size_t length;
    int descriptor;  // of a segment that leaves for the first time, to be closed by the caller; otherwise -1
};
// Counts a holder, the one who will open it. False if the storage isn't in a segment that this process made.
bool send_segment(Storage* storage, SegmentHandle* handle);
void unsend_segment(Storage* storage);  // after send_segment, when it could not be sent after all
// Segments that have been given up since the last call: readers may unmap them.
std::vector<int64_t> segments_given_up();
// On the reader's side; takes the descriptor.
Segment* map_segment(int descriptor, size_t length);
void release_segment(Segment* segment);
Storage* storage_on_segment(Segment* segment, size_t nbytes);

// ---- files

// The bytes of a file: all of it if nbytes is 0. shared: writes reach the file, which is made or extended if need be.
Storage* storage_on_file(const std::string& path, bool shared, size_t nbytes);

}  // namespace flb
