"""The zip container of PyTorch's files: records stored without compression, each aligned to 64 bytes.

Alignment is what lets a file be mapped into memory and its records used as storages in place; it is made with a padding
field (marked ``FB``) in each record's header. Sizes beyond 32 bits use the zip64 extension.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

from flambeau._C import _crc32

_LOCAL = struct.Struct("<4sHHHHHLLLHH")
_CENTRAL = struct.Struct("<4sHHHHHHLLLHHHHHLL")
_END = struct.Struct("<4sHHHHLLH")
_END64 = struct.Struct("<4sQHHLLQQQQ")
_LOCATOR64 = struct.Struct("<4sLQL")
_MAX32 = 0xFFFFFFFF
_VERSION = 45
_UTF8_NAMES = 0x0800
_CHUNK = 1 << 24
_CHECKED_CHUNK = 1 << 20  # read and checked while it is in the processor's cache
_MOST_PACKED = 1040  # deflate makes at most 1032 bytes of one


class FileDamaged(RuntimeError):
    """The file isn't a complete archive."""

    def __init__(self, why: str):
        super().__init__(
            f"PytorchStreamReader failed reading zip archive: {why}. The file is corrupted: it may have been cut off "
            "while it was written or transferred, or changed afterwards."
        )


class Writer:
    """Writes records one after the other to a file object; `write` is all it asks of it."""

    def __init__(self, file, name: str, alignment: int = 64, checksums: bool = True):
        self._file = file
        self._checksums = checksums
        self._name = name
        self._alignment = alignment
        self._position = 0
        self._central: list[bytes] = []

    def _put(self, data) -> None:
        self._file.write(data)
        self._position += len(data)

    def write_record(self, name: str, data) -> None:
        """Write one record; `data` is bytes or a contiguous view of bytes. A checksum of 0 says that there is none."""
        data = memoryview(data)
        self._begin_record(name, len(data), _crc32(data) if self._checksums else 0)
        for i in range(0, len(data), _CHUNK):
            self._put(data[i : i + _CHUNK])

    def leave_record(self, name: str, size: int) -> None:
        """Leave room for a record whose bytes somebody else will write."""
        self._begin_record(name, size, 0)
        if not hasattr(self._file, "seek"):
            raise RuntimeError("skip_data: the file must be seekable")
        if size:
            self._file.seek(size - 1, os.SEEK_CUR)
            self._file.write(b"\0")
            self._position += size

    def _begin_record(self, name: str, size: int, crc: int) -> None:
        path = f"{self._name}/{name}".encode()
        start = self._position
        extra = struct.pack("<HHQQ", 1, 16, size, size) if size >= _MAX32 else b""
        unpadded = start + _LOCAL.size + len(path) + len(extra) + 4
        padding = -unpadded % self._alignment
        extra += struct.pack("<2sH", b"FB", padding) + b"Z" * padding
        short = min(size, _MAX32)
        fields = (0, _UTF8_NAMES, 0, 0, 0, crc, short, short, len(path))
        self._put(_LOCAL.pack(b"PK\3\4", *fields, len(extra)) + path + extra)
        wide = [value for value in (size, size, start) if value >= _MAX32]
        extra64 = struct.pack(f"<HH{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
        self._central.append(
            _CENTRAL.pack(b"PK\1\2", _VERSION, *fields, len(extra64), 0, 0, 0, 0, min(start, _MAX32))
            + path
            + extra64
        )

    def close(self) -> None:
        """Write the directory; without it the file can't be read."""
        start, count = self._position, len(self._central)
        self._put(b"".join(self._central))
        size, end = self._position - start, self._position
        self._put(_END64.pack(b"PK\6\6", 44, _VERSION, _VERSION, 0, 0, count, count, size, start))
        self._put(_LOCATOR64.pack(b"PK\6\7", 0, end, 1))
        short_count = min(count, 0xFFFF)
        self._put(
            _END.pack(b"PK\5\6", 0, 0, short_count, short_count, min(size, _MAX32), min(start, _MAX32), 0)
        )


class Record(NamedTuple):
    """Where a record lies in the file."""

    offset: int
    size: int
    packed_size: int
    crc: int
    compressed: bool


class Reader:
    """Finds and reads the records of an archive, in a seekable file object."""

    def __init__(self, file):
        self._file = file
        self._length = file.seek(0, os.SEEK_END)
        if self._length is None:
            self._length = file.tell()
        entries = self._read_directory()
        if not entries:
            raise FileDamaged("it holds no records")
        # PyTorch names the folder after the file; all records are inside the one folder.
        self.folder = next(iter(entries)).partition("/")[0]
        self._entries = {path.partition("/")[2]: entry for path, entry in entries.items()}

    def _read_at(self, offset: int, size: int) -> bytes:
        if offset < 0 or size < 0 or offset + size > self._length:
            raise FileDamaged("a record lies beyond the end of the file")
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) != size:
            raise FileDamaged("the file ends too early")
        return data

    def _find_end(self) -> tuple[int, tuple]:
        """The position and the fields of the record that ends every archive, which a comment may follow."""
        tail_size = min(self._length, _END.size + 0xFFFF)
        tail = self._read_at(self._length - tail_size, tail_size)
        found = None
        at = tail.rfind(b"PK\5\6")
        while at >= 0:
            if at + _END.size <= tail_size:
                fields = _END.unpack_from(tail, at)
                comment_end = at + _END.size + fields[7]
                if comment_end == tail_size:
                    return self._length - tail_size + at, fields
                if found is None and comment_end < tail_size:  # bytes behind the archive are let pass
                    found = self._length - tail_size + at, fields
            at = tail.rfind(b"PK\5\6", 0, at)
        if found is None:
            raise FileDamaged("failed finding central directory")
        return found

    def _read_directory(self) -> dict:
        end_at, (_, _, _, _, count, size, start, _) = self._find_end()
        directory_end = end_at
        if end_at >= _LOCATOR64.size:
            locator = _LOCATOR64.unpack(self._read_at(end_at - _LOCATOR64.size, _LOCATOR64.size))
            end64_at = end_at - _LOCATOR64.size - _END64.size
            if locator[0] == b"PK\6\7" and end64_at >= 0:
                end64 = _END64.unpack(self._read_at(end64_at, _END64.size))
                if end64[0] == b"PK\6\6":
                    count, size, start, directory_end = end64[7], end64[8], end64[9], end64_at
        self._base = directory_end - size - start  # what precedes the archive in the file
        directory = self._read_at(directory_end - size, size)
        entries, at = {}, 0
        for _ in range(count):
            if at + _CENTRAL.size > len(directory):
                raise FileDamaged("the central directory is incomplete")
            fields = _CENTRAL.unpack_from(directory, at)
            if fields[0] != b"PK\1\2":
                raise FileDamaged("the central directory is unreadable")
            method, crc, packed, full, name_size, extra_size, comment_size = *fields[4:5], *fields[7:13]
            at += _CENTRAL.size
            name = directory[at : at + name_size].decode("utf-8", "replace")
            extra = directory[at + name_size : at + name_size + extra_size]
            at += name_size + extra_size + comment_size
            full, packed, offset = self._widen(extra, full, packed, fields[16])
            if method not in (0, 8):
                raise FileDamaged(f"record {name} uses compression method {method}, which is not supported")
            if full > packed * _MOST_PACKED if method else full != packed:
                raise FileDamaged(f"record {name} claims {full} bytes, which {packed} cannot hold")
            entries[name] = Record(self._base + offset, full, packed, crc, method == 8)
        self._check_apart(entries)
        return entries

    def _check_apart(self, entries: dict) -> None:
        """Records that lie on one another make an archive unpack to many times its size."""
        end = 0
        for entry in sorted(entries.values()):
            if entry.offset < end:
                raise FileDamaged("records overlap")
            end = entry.offset + _LOCAL.size + entry.packed_size
        if end > self._length:
            raise FileDamaged("a record lies beyond the end of the file")

    @staticmethod
    def _widen(extra: bytes, *values: int) -> list[int]:
        """Replace the values that don't fit 32 bits by those of the zip64 field."""
        at = 0
        while at + 4 <= len(extra):
            kind, size = struct.unpack_from("<HH", extra, at)
            if kind == 1:
                wide = iter(struct.unpack_from(f"<{min(size, len(extra) - at - 4) // 8}Q", extra, at + 4))
                return [next(wide, _MAX32) if value == _MAX32 else value for value in values]
            at += 4 + size
        return list(values)

    def names(self) -> list[str]:
        """Names of the records, without the folder."""
        return list(self._entries)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def _entry(self, name: str) -> Record:
        if name not in self._entries:
            raise RuntimeError(
                f"PytorchStreamReader failed locating file {name}: file not found in the archive"
            )
        return self._entries[name]

    def size(self, name: str) -> int:
        return self._entry(name).size

    def locate(self, name: str) -> int:
        """The offset in the file at which an uncompressed record's bytes start."""
        entry = self._entry(name)
        if entry.compressed:
            raise RuntimeError(f"record {name} is compressed, so that its bytes can't be used in place")
        return self._data_offset(entry)

    def _data_offset(self, entry: Record) -> int:
        header = _LOCAL.unpack(self._read_at(entry.offset, _LOCAL.size))
        if header[0] != b"PK\3\4":
            raise FileDamaged("a record's header is unreadable")
        offset = entry.offset + _LOCAL.size + header[9] + header[10]
        if offset + entry.packed_size > self._length:
            raise FileDamaged("a record lies beyond the end of the file")
        return offset

    def read(self, name: str) -> bytes:
        """The bytes of a record, checked against its checksum."""
        entry = self._entry(name)
        data = self._read_at(self._data_offset(entry), entry.packed_size)
        if entry.compressed:
            data = self._unpack(name, entry, data)
        self._check(name, entry, len(data), _crc32(data))
        return data

    @staticmethod
    def _unpack(name: str, entry: Record, data: bytes) -> bytes:
        import zlib

        try:
            return zlib.decompressobj(-15).decompress(data, entry.size + 1)  # no further than it says
        except zlib.error as error:
            raise FileDamaged(f"record {name} cannot be decompressed: {error}") from None

    def read_into(self, name: str, target: memoryview) -> None:
        """Read a record into memory that has just its size."""
        entry = self._entry(name)
        if entry.size != len(target):
            raise FileDamaged(f"record {name} has {entry.size} bytes where {len(target)} were expected")
        if entry.compressed or not hasattr(self._file, "readinto"):
            target[:] = self.read(name)
            return
        self._file.seek(self._data_offset(entry))
        done = crc = 0
        while done < len(target):
            count = self._file.readinto(target[done : done + _CHECKED_CHUNK])
            if not count:
                raise FileDamaged("the file ends too early")
            crc = _crc32(target[done : done + count], crc)
            done += count
        self._check(name, entry, done, crc)

    @staticmethod
    def _check(name: str, entry: Record, size: int, crc: int) -> None:
        # A file can be written without checksums; the checksum is then 0.
        if size != entry.size or (entry.crc and crc != entry.crc):
            raise FileDamaged(f"record {name} fails its checksum")
