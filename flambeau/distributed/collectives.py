"""Algorithms of collective operations over the links of a group.

Tensors here are contiguous and of one dimension. Small ones go directly or through a tree, where latency counts; large
ones by pieces around a ring, where each process sends and receives only as much as has to be. Sums are taken in an order
that depends on sizes and ranks alone, and each element of a result is computed either once or in the same order
everywhere: every process gets the same bits, every time.
"""

from __future__ import annotations

import itertools
import struct

import flambeau

from .reduce_op import RedOpType, combine
from .transport import INLINE, Link, Mismatch, bytes_of

__all__ = ["Collectives"]

_HEADER = struct.Struct("<BBBxIQ")  # operation, kind of reduction, dtype, number of the operation, bytes
OPERATIONS = "all_reduce broadcast reduce all_gather gather scatter reduce_scatter all_to_all barrier".split()
_CODE = {name: code for code, name in enumerate(OPERATIONS, 1)}
_DTYPES = (
    "float32 float64 float16 bfloat16 int64 int32 int16 int8 uint8 bool complex64 complex128 complex32 uint16 uint32 "
    "uint64 float8_e4m3fn float8_e5m2"
).split()
_DTYPE_CODE = {getattr(flambeau, name): code for code, name in enumerate(_DTYPES) if hasattr(flambeau, name)}
# Everybody sends to everybody up to this many bytes, which beats a ring's many steps.
_DIRECT = 4 * INLINE
# How many pieces a process may be ahead of the one it receives, so that neither waits for the other's copy.
_AHEAD = 1
_NO_REDUCTION = 255


def split(count: int, parts: int) -> list[tuple[int, int]]:
    """Beginnings and ends of nearly equal parts of `count` elements."""
    base, more = divmod(count, parts)
    ends = list(itertools.accumulate(base + (i < more) for i in range(parts)))
    return list(zip([0, *ends[:-1]], ends, strict=True))


class Collectives:
    """The operations, for the process `rank` of `size` that has `links` with all others."""

    def __init__(self, rank: int, size: int, links: dict[int, Link]):
        self.rank, self.size, self.links = rank, size, links
        self.others = [peer for peer in range(size) if peer != rank]
        self._number = self._expected = 0
        self._kind = (0, _NO_REDUCTION, 0)

    def _begin(self, name: str, dtype=None, op: RedOpType | None = None) -> None:
        self._number = (self._number + 1) & 0xFFFFFFFF
        self._kind = (_CODE[name], _NO_REDUCTION if op is None else int(op), _DTYPE_CODE.get(dtype, 0))

    def _header(self, nbytes: int) -> bytes:
        return _HEADER.pack(*self._kind, self._number, nbytes)

    def explain(self, mismatch: Mismatch) -> str:
        """What two processes do that should do the same."""

        def describe(code, op, dtype, number, nbytes):
            name = OPERATIONS[code - 1] if 0 < code <= len(OPERATIONS) else "no operation"
            if op != _NO_REDUCTION and op in RedOpType._value2member_map_:
                name += f"({RedOpType(op).name})"
            known = _DTYPES[dtype] if dtype < len(_DTYPES) else "?"
            return f"{name} of {nbytes} bytes of {known} (operation {number} of the group)"

        theirs = _HEADER.unpack(mismatch.header)
        return (
            f"Collective operations of one group do not match: rank {mismatch.peer} is in {describe(*theirs)}, and rank "
            f"{self.rank} in {describe(*self._kind, self._number, self._expected)}. All ranks have to call the same "
            "operations in the same order, with tensors of the same size and dtype"
        )

    # ---- moving tensors

    def _send(self, peer: int, tensor) -> None:
        link, data = self.links[peer], tensor.numel() * tensor.element_size()
        if data <= INLINE:
            link.send_small(self._header(data), bytes_of(tensor))
            return
        header = self._header(data)
        for start, end in link.pieces(tensor.numel(), tensor.element_size()):
            link.put(tensor[start:end], header)
            header = b""

    def _received(self, peer: int, like):
        """A small tensor from a process, in memory of its own."""
        self._expected = nbytes = like.numel() * like.element_size()
        header = self._header(nbytes)
        buffer = bytearray(_HEADER.size + nbytes)
        self.links[peer].receive_small(header, buffer)
        if nbytes == 0:
            return flambeau.empty_like(like)
        return flambeau.frombuffer(buffer, dtype=like.dtype, count=like.numel(), offset=_HEADER.size)

    def _receive(self, peer: int, into) -> None:
        link, nbytes = self.links[peer], into.numel() * into.element_size()
        if nbytes <= INLINE:
            self._receive_small(peer, into, None)
            return
        self._expect(link, nbytes)
        for start, end in link.pieces(into.numel(), into.element_size()):
            link.take_into(into[start:end])

    def _expect(self, link: Link, nbytes: int) -> None:
        self._expected = nbytes
        link.receive_header(self._header(nbytes))

    def _receive_small(self, peer: int, into, op: RedOpType | None) -> None:
        received = self._received(peer, into)
        if op is None:
            into.copy_(received)
        else:
            combine(op, into, received)

    def _exchange(self, to: int, out, frm: int, into, op: RedOpType | None = None) -> None:
        """Send `out` to one process while receiving `into` from another, or combining with it what is received."""
        out_link, in_link = self.links[to], self.links[frm]
        out_bytes, in_bytes = out.numel() * out.element_size(), into.numel() * into.element_size()
        puts = takes = ()
        if out_bytes <= INLINE:
            out_link.send_small(self._header(out_bytes), bytes_of(out))
        else:
            puts = out_link.pieces(out.numel(), out.element_size())
            out_link.put(out[: puts[0][1]], self._header(out_bytes))
        if in_bytes <= INLINE:
            self._receive_small(frm, into, op)
        else:
            self._expect(in_link, in_bytes)
            takes = in_link.pieces(into.numel(), into.element_size())
        # Each piece that is sent is followed by one that is received: whoever waits to send is therefore ahead of the one
        # it waits for, and no circle of processes can wait for each other.
        ahead = _AHEAD if out_link.shared else 0
        for k in range(max(len(puts), len(takes) + ahead)):
            if 0 < k < len(puts):
                start, end = puts[k]
                out_link.put(out[start:end])
            if 0 <= k - ahead < len(takes):
                start, end = takes[k - ahead]
                piece = into[start:end]
                if op is None:
                    in_link.take_into(piece)
                else:
                    combine(op, piece, in_link.take(piece))
                    in_link.give_back()

    # ---- reductions

    def _is_direct(self, tensor) -> bool:
        nbytes = tensor.numel() * tensor.element_size()
        return nbytes <= INLINE and nbytes * (self.size - 1) <= _DIRECT

    def _finish(self, tensor, op: RedOpType) -> None:
        if op is RedOpType.AVG:
            tensor.div_(self.size)

    def _combine_in_order(self, mine, op: RedOpType):
        """The reduction of a small tensor that all others have sent, in the order of ranks."""
        total = mine.clone() if self.rank == 0 else self._received(0, mine)
        for peer in range(1, self.size):
            combine(op, total, mine if peer == self.rank else self._received(peer, mine))
        self._finish(total, op)
        return total

    def _ring_reduce_scatter(self, chunks: list, op: RedOpType) -> None:
        """Reduce ``chunks[i]`` over all processes into process i's."""
        right, left = (self.rank + 1) % self.size, (self.rank - 1) % self.size
        for step in range(self.size - 1):
            out, into = (self.rank - step - 1) % self.size, (self.rank - step - 2) % self.size
            self._exchange(right, chunks[out], left, chunks[into], op)
        self._finish(chunks[self.rank], op)

    def _ring_all_gather(self, chunks: list) -> None:
        """Give everybody process i's ``chunks[i]``."""
        right, left = (self.rank + 1) % self.size, (self.rank - 1) % self.size
        for step in range(self.size - 1):
            out, into = (self.rank - step) % self.size, (self.rank - step - 1) % self.size
            self._exchange(right, chunks[out], left, chunks[into])

    def all_reduce(self, tensor, op: RedOpType) -> None:
        """Replace everybody's tensor by the reduction of them all."""
        self._begin("all_reduce", tensor.dtype, op)
        if self.size == 1:
            return
        if self._is_direct(tensor):
            header, data = self._header(tensor.numel() * tensor.element_size()), bytes_of(tensor)
            for peer in self.others:
                self.links[peer].send_small(header, data)
            tensor.copy_(self._combine_in_order(tensor, op))
            return
        chunks = [tensor[start:end] for start, end in split(tensor.numel(), self.size)]
        self._ring_reduce_scatter(chunks, op)
        self._ring_all_gather(chunks)

    def reduce(self, tensor, root: int, op: RedOpType) -> None:
        """Replace the root's tensor by the reduction of them all."""
        self._begin("reduce", tensor.dtype, op)
        if self.size == 1:
            return
        if self._is_direct(tensor):
            if self.rank == root:
                tensor.copy_(self._combine_in_order(tensor, op))
            else:
                self._send(root, tensor)
            return
        bounds = split(tensor.numel(), self.size)
        work = tensor if self.rank == root else tensor.clone()
        chunks = [work[start:end] for start, end in bounds]
        self._ring_reduce_scatter(chunks, op)
        if self.rank != root:
            self._send(root, chunks[self.rank])
            return
        for peer in self.others:
            self._receive(peer, chunks[peer])

    def reduce_scatter(self, out, inputs: list, op: RedOpType) -> None:
        """Reduce ``inputs[i]`` over all processes into process i's `out`. Inputs stay as they are."""
        self._begin("reduce_scatter", out.dtype, op)
        if self.size == 1:
            out.copy_(inputs[0])
            return
        if all(self._is_direct(tensor) for tensor in inputs):
            for peer in self.others:
                self._send(peer, inputs[peer])
            out.copy_(self._combine_in_order(inputs[self.rank], op))
            return
        # What a process receives is combined with its own and sent on, so it needs memory of its own.
        work = [tensor.clone() for tensor in inputs]
        self._ring_reduce_scatter(work, op)
        out.copy_(work[self.rank])

    # ---- moves

    def broadcast(self, tensor, root: int) -> None:
        """Give everybody the root's tensor."""
        self._begin("broadcast", tensor.dtype)
        if self.size == 1:
            return
        nbytes = tensor.numel() * tensor.element_size()
        place = (self.rank - root) % self.size
        if nbytes <= INLINE:
            self._broadcast_by_tree(tensor, root, place)
            return
        right, left = (self.rank + 1) % self.size, (self.rank - 1) % self.size
        onward, sent = [], 0
        if place != self.size - 1:
            link = self.links[right]
            link.send_header(self._header(nbytes))
            onward = link.pieces(tensor.numel(), tensor.element_size())
        if place == 0:
            for start, end in onward:
                link.put(tensor[start:end])
            return
        source = self.links[left]
        self._expect(source, nbytes)
        for start, end in source.pieces(tensor.numel(), tensor.element_size()):
            source.take_into(tensor[start:end])
            while sent < len(onward) and onward[sent][1] <= end:
                link.put(tensor[slice(*onward[sent])])
                sent += 1

    def _broadcast_by_tree(self, tensor, root: int, place: int) -> None:
        # In round k, those who have it (the first 2**k) send it on.
        reach = 1
        while reach < self.size:
            if place < reach:
                if place + reach < self.size:
                    self._send((place + reach + root) % self.size, tensor)
            elif place < 2 * reach:
                self._receive((place - reach + root) % self.size, tensor)
            reach *= 2

    def all_gather(self, outputs: list, tensor) -> None:
        """Give everybody everybody's tensor."""
        self._begin("all_gather", tensor.dtype)
        outputs[self.rank].copy_(tensor)
        if self.size == 1:
            return
        if self._is_direct(tensor) and all(self._is_direct(out) for out in outputs):
            for peer in self.others:
                self._send(peer, tensor)
            for peer in self.others:
                self._receive_small(peer, outputs[peer], None)
            return
        self._ring_all_gather(outputs)

    def gather(self, outputs: list | None, tensor, root: int) -> None:
        """Give the root everybody's tensor."""
        self._begin("gather", tensor.dtype)
        if self.rank != root:
            self._send(root, tensor)
            return
        outputs[root].copy_(tensor)
        for peer in self.others:
            self._receive(peer, outputs[peer])

    def scatter(self, out, inputs: list | None, root: int) -> None:
        """Give process i the root's ``inputs[i]``."""
        self._begin("scatter", out.dtype)
        if self.rank != root:
            self._receive(root, out)
            return
        out.copy_(inputs[root])
        for peer in self.others:
            self._send(peer, inputs[peer])

    def all_to_all(self, outputs: list, inputs: list) -> None:
        """Give process i's ``outputs[j]`` process j's ``inputs[i]``."""
        self._begin("all_to_all", outputs[0].dtype)
        outputs[self.rank].copy_(inputs[self.rank])
        for step in range(1, self.size):
            to, frm = (self.rank + step) % self.size, (self.rank - step) % self.size
            self._exchange(to, inputs[to], frm, outputs[frm])

    def barrier(self) -> None:
        """Return when everybody has called it: after round k, everybody has heard of 2**(k+1)."""
        self._begin("barrier")
        reach = 1
        while reach < self.size:
            header = self._header(0)
            self.links[(self.rank + reach) % self.size].send_header(header)
            self._expect(self.links[(self.rank - reach) % self.size], 0)
            reach *= 2
