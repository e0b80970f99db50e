"""Processes arranged in a grid, with a group along each of its dimensions."""

from __future__ import annotations

import math

import flambeau

from . import world

__all__ = ["DeviceMesh", "init_device_mesh"]


class DeviceMesh:
    """An array of the numbers of processes, with a group for each line along each dimension.

    All processes make it together, those outside of it too. Slices by the names of dimensions are meshes again, and share
    the groups.

    Args:
        device_type: ``"cpu"``.
        mesh: nested lists, or a tensor, of numbers of processes.
        mesh_dim_names: a name for each dimension.

    >>> mesh = DeviceMesh("cpu", [[0, 1], [2, 3]], mesh_dim_names=("data", "model"))  # doctest: +SKIP
    >>> mesh["data"].size(), mesh.get_group("model").size()  # doctest: +SKIP
    (2, 2)
    """

    def __init__(self, device_type: str, mesh=None, *, mesh_dim_names=None, _init_backend: bool = True):
        _check_device(device_type)
        if not world.is_initialized():
            world.init_process_group()
        mesh = mesh.detach() if isinstance(mesh, flambeau.Tensor) else flambeau.tensor(mesh)
        mesh = mesh.to(flambeau.int32)
        ranks = mesh.flatten().tolist()
        if len(set(ranks)) != len(ranks):
            raise RuntimeError(f"DeviceMesh cannot have duplicate values, but found {mesh.tolist()}")
        if len(ranks) > world.get_world_size():
            raise RuntimeError(
                f"Mesh should not be bigger than default world size {world.get_world_size()}, but found {len(ranks)} ranks!"
            )
        self._set(device_type, mesh, tuple(mesh_dim_names) if mesh_dim_names else None, None)
        self._make_groups()

    def _set(self, device_type, mesh, names, groups, root=None) -> None:
        self._device_type, self._mesh, self._names = device_type, mesh, names
        self._groups = groups  # of this process, one per dimension
        self._root = root
        self._flattened: dict[str, DeviceMesh] = {}
        place = (mesh == world.get_rank()).nonzero()
        self._coordinate = tuple(place[0].tolist()) if place.size(0) else None

    @classmethod
    def _of(cls, device_type, mesh, names, groups, root=None) -> DeviceMesh:
        made = cls.__new__(cls)
        made._set(device_type, mesh, names, groups, root)
        return made

    def _make_groups(self) -> None:
        self._groups = []
        everybody = list(range(world.get_world_size()))
        for dim in range(self._mesh.dim()):
            name = f"mesh_{self._names[dim]}" if self._names else f"mesh_dim_{dim}"
            own = None
            for line in self._mesh.movedim(dim, -1).reshape(-1, self._mesh.size(dim)).tolist():
                if line == everybody:
                    own = world.group.WORLD
                    continue
                made = world.new_group(line, group_desc=name, sort_ranks=False)
                if not world.is_outside(made):
                    own = made
            if own is not None:
                self._groups.append(own)

    # ---- what it is

    @property
    def device_type(self) -> str:
        """ "cpu"."""
        return self._device_type

    @property
    def mesh(self):
        """The numbers of processes, as a tensor."""
        return self._mesh

    @property
    def mesh_dim_names(self):
        """The names of the dimensions, or None."""
        return self._names

    @property
    def ndim(self) -> int:
        """How many dimensions there are."""
        return self._mesh.dim()

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the dimensions."""
        return tuple(self._mesh.shape)

    def size(self, mesh_dim: int | None = None) -> int:
        """How many processes there are, in all or along a dimension."""
        return self._mesh.numel() if mesh_dim is None else self._mesh.size(mesh_dim)

    def get_rank(self) -> int:
        """This process's number among all."""
        return world.get_rank()

    def get_coordinate(self):
        """Where this process is in the mesh, or None if it is not in it."""
        return self._coordinate

    def get_local_rank(self, mesh_dim=None) -> int:
        """Where this process is along a dimension, given by its number or name; a mesh of one needs none."""
        if self.ndim > 1 and mesh_dim is None:
            raise RuntimeError(
                f"Found the DeviceMesh have {self.ndim} dimensions",
                "Optional kwarg `mesh_dim` needs to be specified when device_mesh.ndim > 1.",
            )
        if self._coordinate is None:
            raise RuntimeError(f"rank {self.get_rank()} is not part of {self}")
        return self._coordinate[self._dim(0 if mesh_dim is None else mesh_dim)]

    def _dim(self, dim) -> int:
        if isinstance(dim, str):
            if self._names is None or dim not in self._names:
                raise KeyError(
                    f"Invalid mesh_dim_names ({dim!r},) specified. Valid mesh_dim_names are {list(self._names or ())}."
                )
            return self._names.index(dim)
        return dim

    def get_group(self, mesh_dim=None):
        """This process's group along a dimension, given by its number or name; a mesh of one needs none."""
        if self.ndim > 1 and mesh_dim is None:
            raise RuntimeError(
                f"Found the DeviceMesh have {self.ndim} dimensions",
                "Optional kwarg `mesh_dim` needs to be specified when device_mesh.ndim > 1.",
                "If you want to get the list of all the ProcessGroups in the DeviceMesh,"
                "please use `get_all_groups()` instead.",
            )
        if isinstance(mesh_dim, str) and mesh_dim in self._root_mesh()._flattened:
            return self._root_mesh()._flattened[mesh_dim].get_group()
        dim = self._dim(0 if mesh_dim is None else mesh_dim)
        if not self._groups:
            raise RuntimeError(f"rank {self.get_rank()} is not part of {self}, and has none of its groups")
        return self._groups[dim]

    def get_all_groups(self) -> list:
        """This process's groups, one per dimension."""
        return [self.get_group(dim) for dim in range(self.ndim)]

    # ---- parts of it

    def _root_mesh(self) -> DeviceMesh:
        return self._root or self

    def __getitem__(self, mesh_dim_names) -> DeviceMesh:
        """The lines, or planes, through this process along the named dimensions."""
        if self._names is None:
            raise RuntimeError("Cannot slice a DeviceMesh without mesh_dim_names!")
        names = (mesh_dim_names,) if isinstance(mesh_dim_names, str) else tuple(mesh_dim_names)
        if names == self._names:
            return self
        if len(names) == 1 and names[0] in self._root_mesh()._flattened:
            return self._root_mesh()._flattened[names[0]]
        if any(name not in self._names for name in names):
            raise KeyError(
                f"Invalid mesh_dim_names {names} specified. Valid mesh_dim_names are {list(self._names)}."
            )
        dims = [self._names.index(name) for name in names]
        if dims != sorted(set(dims)):
            raise KeyError(
                f"Invalid mesh_dim_names {names} specified. Mesh dim indices should be in ascending order."
            )
        place = self._coordinate or (0,) * self.ndim
        key = tuple(slice(None) if dim in dims else place[dim] for dim in range(self.ndim))
        groups = [self._groups[dim] for dim in dims] if self._groups else []
        return self._of(self._device_type, self._mesh[key], names, groups, self._root_mesh())

    def _flatten(self, mesh_dim_name: str | None = None) -> DeviceMesh:
        """All processes of the mesh along one dimension, which the root mesh then knows by `mesh_dim_name`."""
        root = self._root_mesh()
        name = mesh_dim_name or "_".join(self._names or map(str, range(self.ndim)))
        if name in root._flattened:
            return root._flattened[name]
        if self.ndim == 1 and self._names == (name,):
            return self
        own = None
        # Each process makes all groups of this kind, in the same order: those of every slice like this one.
        for ranks in root._parts_like(self):
            made = world.new_group(ranks, group_desc=f"mesh_{name}", sort_ranks=False)
            if not world.is_outside(made):
                own = made
        flat = self._of(
            self._device_type, self._mesh.flatten(), (name,), [own] if own is not None else [], root
        )
        root._flattened[name] = flat
        return flat

    def _parts_like(self, part: DeviceMesh) -> list[list[int]]:
        if part is self or part._names is None:
            return [self._mesh.flatten().tolist()]
        dims = [self._names.index(name) for name in part._names]
        rest = [dim for dim in range(self.ndim) if dim not in dims]
        return self._mesh.permute(*rest, *dims).reshape(-1, part._mesh.numel()).tolist()

    @staticmethod
    def from_group(group, device_type: str, mesh=None, *, mesh_dim_names=None) -> DeviceMesh:
        """A mesh of groups that exist: of one group's processes, or of `mesh` with a list of groups."""
        names = tuple(mesh_dim_names) if mesh_dim_names else None
        if not isinstance(group, (list, tuple)):
            ranks = flambeau.tensor(world.get_process_group_ranks(group), dtype=flambeau.int32)
            return DeviceMesh._of(device_type, ranks, names, [group])
        groups = list(group)
        if not groups:
            raise ValueError("Expected at least one ProcessGroup to be specified")
        if mesh is None:
            raise ValueError("Must pass mesh if passing multiple ProcessGroups")
        mesh = mesh if isinstance(mesh, flambeau.Tensor) else flambeau.tensor(mesh)
        if mesh.dim() != len(groups):
            raise ValueError(
                f"Expected mesh with ndim equal to number of ProcessGroups but got mesh {mesh.tolist()}"
            )
        return DeviceMesh._of(device_type, mesh.to(flambeau.int32), names, groups)

    # ---- as an object

    def __eq__(self, other) -> bool:
        return isinstance(other, DeviceMesh) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple:
        return self._device_type, tuple(self._mesh.flatten().tolist()), self.shape, self._names

    def __enter__(self) -> DeviceMesh:
        return self

    def __exit__(self, *unused) -> None:
        pass

    def __repr__(self) -> str:
        sizes = (
            "(" + ", ".join(f"{n}={s}" for n, s in zip(self._names, self.shape, strict=True)) + ")"
            if self._names
            else str(self.shape)
        )
        root = self._root_mesh()
        strides = [math.prod(root.shape[d + 1 :]) for d in range(root.ndim)]
        if root is not self and root._names and self._names and set(self._names) <= set(root._names):
            strides = [strides[root._names.index(name)] for name in self._names]
        elif root is not self:
            strides = [math.prod(self.shape[d + 1 :]) for d in range(self.ndim)]
        return f"DeviceMesh({sizes}, {self._device_type!r}, stride={tuple(strides)})"


def _check_device(device_type: str) -> None:
    if device_type and not device_type.isalpha():
        raise RuntimeError(
            f"Device type with index is not supported but got {device_type}. ",
            "If you maintained a 'torch.device' object, it's recommended to pass in 'device.type'.",
        )
    if device_type not in ("cpu", "meta"):
        raise RuntimeError(
            f"device type {device_type!r}: process groups here are for tensors on the CPU: use 'cpu'"
        )


def init_device_mesh(
    device_type: str, mesh_shape: tuple[int, ...], *, mesh_dim_names=None, backend_override=None
) -> DeviceMesh:
    """A mesh of processes 0, 1, 2, ... in the order of rows.

    Args:
        device_type: ``"cpu"``.
        mesh_shape: the sizes of its dimensions.
        mesh_dim_names: a name for each.

    >>> mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "model"))  # doctest: +SKIP
    """
    if mesh_dim_names is not None:
        if len(set(mesh_dim_names)) != len(mesh_dim_names):
            raise RuntimeError(
                "Each mesh_dim_name must be unique. "
                f"Found repeated mesh_dim_name in mesh_dim_names {tuple(mesh_dim_names)}"
            )
        if len(mesh_shape) != len(mesh_dim_names):
            raise RuntimeError(
                "mesh_shape and mesh_dim_names should have same length! "
                f"Found len(mesh_dim_names): {len(mesh_dim_names)} and len(mesh_shape):{len(mesh_shape)}."
            )
    _check_device(device_type)
    mesh = flambeau.arange(math.prod(mesh_shape), dtype=flambeau.int32).view(tuple(mesh_shape))
    return DeviceMesh(device_type, mesh, mesh_dim_names=mesh_dim_names)
