"""Which part of a tensor lies on this process."""

from __future__ import annotations

__all__ = ["compute_local_shape_and_global_offset"]


def compute_local_shape_and_global_offset(global_shape, mesh, placements):
    """The shape of this process's part of a tensor of `global_shape`, and where it begins.

    Args:
        global_shape: the whole tensor's shape.
        mesh: a `DeviceMesh`.
        placements: one per dimension of the mesh. Pieces are those of `chunk`: the last ones may be smaller, or empty.
    """
    shape, offset = list(global_shape), [0] * len(global_shape)
    coordinate = mesh.get_coordinate()
    if coordinate is None:
        return (0,), ()
    for dim_of_mesh, placement in enumerate(placements):
        if not placement.is_shard():
            continue
        dim = placement.dim
        piece = -(-shape[dim] // mesh.size(dim_of_mesh))
        begin = min(piece * coordinate[dim_of_mesh], shape[dim])
        offset[dim] += begin
        shape[dim] = min(piece, shape[dim] - begin)
    return tuple(shape), tuple(offset)
