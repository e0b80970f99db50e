"""Pruning: masks that hold some of a parameter's elements at zero.

A pruned parameter ``name`` of a module becomes ``name_orig`` (the parameter) and ``name_mask`` (a buffer); before every
forward their product is put in the place of ``name``.
"""

import numbers
from abc import ABC, abstractmethod

import flambeau

from ..parameter import Parameter

__all__ = [
    "BasePruningMethod",
    "CustomFromMask",
    "Identity",
    "L1Unstructured",
    "LnStructured",
    "PruningContainer",
    "RandomStructured",
    "RandomUnstructured",
    "custom_from_mask",
    "global_unstructured",
    "identity",
    "is_pruned",
    "l1_unstructured",
    "ln_structured",
    "random_structured",
    "random_unstructured",
    "remove",
]


class BasePruningMethod(ABC):
    """What pruning methods share. A subclass sets `PRUNING_TYPE` and defines :meth:`compute_mask`.

    PRUNING_TYPE: ``"unstructured"`` (single elements), ``"structured"`` (channels along ``dim``) or ``"global"``: which
    part of an already pruned tensor a further pruning gets to see.
    """

    _tensor_name: str

    def __call__(self, module, inputs):
        """The forward pre-hook: put the masked tensor in its place."""
        setattr(module, self._tensor_name, self.apply_mask(module))

    @abstractmethod
    def compute_mask(self, t, default_mask):
        """The mask for `t`: ones and zeros of its shape, zero wherever `default_mask` is."""

    def apply_mask(self, module):
        """The product of mask and original."""
        name = getattr(self, "_tensor_name", None)
        if name is None:
            raise AssertionError(f"Module {module} has to be pruned")
        original = getattr(module, name + "_orig")
        return getattr(module, name + "_mask").to(dtype=original.dtype) * original

    @classmethod
    def apply(cls, module, name, *args, importance_scores=None, **kwargs):
        """Prune ``module.name``; the other arguments make the method. Returns the method (its forward pre-hook)."""
        earlier = [
            (key, hook)
            for key, hook in module._forward_pre_hooks.items()
            if isinstance(hook, BasePruningMethod) and hook._tensor_name == name
        ]
        if len(earlier) > 1:
            raise AssertionError(f"there is more than one pruning hook on '{name}' of {module}")
        method = cls(*args, **kwargs)
        method._tensor_name = name
        current = getattr(module, name)
        if importance_scores is None:
            importance_scores = current
        elif importance_scores.shape != current.shape:
            raise AssertionError(
                f"importance_scores should have the same shape as parameter {name} of {module}, got "
                f"{importance_scores.shape} vs {current.shape}"
            )
        if earlier:
            previous = earlier[0][1]
            container = previous
            if not isinstance(previous, PruningContainer):
                container = PruningContainer(previous)
            before = getattr(module, name + "_mask")
            after = container._extended_mask(method, importance_scores, before.clone())
            # From here on nothing can fail: a pruning that is refused leaves the module as it was.
            container.add_pruning_method(method)
            del module._forward_pre_hooks[earlier[0][0]]
            module.register_buffer(name + "_mask", after)
            method = container
        else:
            mask = method.compute_mask(importance_scores, flambeau.ones_like(importance_scores))
            original = current
            if not isinstance(original, Parameter):
                original = Parameter(current)
            del module._parameters[name]
            module.register_parameter(name + "_orig", original)
            module.register_buffer(name + "_mask", mask)
        setattr(module, name, method.apply_mask(module))
        module.register_forward_pre_hook(method)
        return method

    def prune(self, t, default_mask=None, importance_scores=None):
        """A pruned copy of the tensor `t`, without any module.

        default_mask: where it is zero, `t` is pruned already. importance_scores: what decides, in place of `t` itself.
        """
        if importance_scores is None:
            importance_scores = t
        elif importance_scores.shape != t.shape:
            raise AssertionError("importance_scores should have the same shape as tensor t")
        if default_mask is None:
            default_mask = flambeau.ones_like(t)
        return t * self.compute_mask(importance_scores, default_mask=default_mask)

    def remove(self, module):
        """Make the pruned parameter an ordinary one again, with its zeros; the hook stays to be removed by the caller."""
        name = self._tensor_name
        if name is None:
            raise AssertionError(f"Module {module} has to be pruned before pruning can be removed")
        weight = self.apply_mask(module)
        if hasattr(module, name):
            delattr(module, name)
        original = module._parameters.pop(name + "_orig")
        original.data = weight.data
        del module._buffers[name + "_mask"]
        setattr(module, name, original)


class PruningContainer(BasePruningMethod):
    """Several prunings of one parameter, in their order; the last one's mask contains the others'."""

    def __init__(self, *args):
        self._pruning_methods = ()
        if not args:
            return
        first, *others = args if isinstance(args[0], BasePruningMethod) else args[0]
        self._tensor_name = first._tensor_name
        for method in (first, *others):
            self.add_pruning_method(method)

    def add_pruning_method(self, method):
        """Append a method for the same parameter."""
        if method is not None and not isinstance(method, BasePruningMethod):
            raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if method is not None and self._tensor_name != method._tensor_name:
            raise ValueError(
                "Can only add pruning methods acting on the parameter named "
                f"'{self._tensor_name}' to PruningContainer {self}. Found '{method._tensor_name}'"
            )
        self._pruning_methods += (method,)

    def __len__(self):
        return len(self._pruning_methods)

    def __iter__(self):
        return iter(self._pruning_methods)

    def __getitem__(self, idx):
        return self._pruning_methods[idx]

    def compute_mask(self, t, default_mask):
        """The mask after the last method, which sees what the earlier ones left."""
        return self._extended_mask(self._pruning_methods[-1], t, default_mask.to(dtype=t.dtype))

    @staticmethod
    def _extended_mask(method, t, mask):
        if method.PRUNING_TYPE == "unstructured":
            left = mask == 1
        elif method.PRUNING_TYPE == "structured":
            dim = method.dim % t.dim()
            others = [d for d in range(t.dim()) if d != dim]
            alive = mask.sum(dim=others) != 0
            left = (slice(None),) * dim + (alive,)
        elif method.PRUNING_TYPE == "global":
            left = (slice(None),) * t.dim()
        else:
            raise ValueError(f"Unrecognized PRUNING_TYPE {method.PRUNING_TYPE}")
        result = mask.clone()
        result[left] = method.compute_mask(t[left], default_mask=mask[left]).to(dtype=mask.dtype)
        return result


# ---- amounts -----------------------------------------------------------------------------------------------------------


def _check_amount(amount):
    """An amount is a share between 0 and 1 (a float), or a number of units (an int)."""
    if not isinstance(amount, numbers.Real):
        raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
    whole = isinstance(amount, numbers.Integral)
    if amount < 0 or (not whole and amount > 1):
        raise ValueError(
            f"amount={amount} should either be a float in the range [0, 1] or a non-negative integer"
        )


def _count(amount, size):
    """How many of `size` units to prune."""
    if not isinstance(amount, numbers.Integral):
        return round(amount * size)
    if amount > size:
        raise ValueError(f"amount={amount} should be smaller than the number of parameters to prune={size}")
    return int(amount)


def _check_structured(t, dim):
    if t.dim() <= 1:
        raise ValueError(
            "Structured pruning can only be applied to multidimensional tensors. Found tensor of shape "
            f"{t.shape} with {t.dim()} dims"
        )
    if dim >= t.dim():
        raise IndexError(f"Invalid index {dim} for tensor of size {t.shape}")


def _channel_mask(t, dim, keep):
    """Ones in the channels of `dim` that `keep` (a mask or indices) selects."""
    mask = flambeau.zeros_like(t)
    mask[(slice(None),) * (dim % t.dim()) + (keep,)] = 1
    return mask


# ---- methods -----------------------------------------------------------------------------------------------------------


class Identity(BasePruningMethod):
    """Prunes nothing, but brings mask and original into being."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t, default_mask):
        """The given mask."""
        return default_mask

    @classmethod
    def apply(cls, module, name):
        """See :meth:`BasePruningMethod.apply`."""
        return super().apply(module, name)


class RandomUnstructured(BasePruningMethod):
    """Prunes elements at random: a share (float) or a number (int) of those that are left."""

    PRUNING_TYPE = "unstructured"

    def __init__(self, amount):
        _check_amount(amount)
        self.amount = amount

    def compute_mask(self, t, default_mask):
        """`default_mask` with the chosen elements zero as well."""
        count = _count(self.amount, t.nelement())
        mask = default_mask.clone(memory_format=flambeau.contiguous_format)
        if count:
            chosen = flambeau.topk(flambeau.rand_like(t).view(-1), k=count).indices
            mask.view(-1)[chosen] = 0
        return mask

    @classmethod
    def apply(cls, module, name, amount):
        """See :meth:`BasePruningMethod.apply`."""
        return super().apply(module, name, amount=amount)


class L1Unstructured(BasePruningMethod):
    """Prunes the elements of smallest magnitude: a share (float) or a number (int) of those that are left."""

    PRUNING_TYPE = "unstructured"

    def __init__(self, amount):
        _check_amount(amount)
        self.amount = amount

    def compute_mask(self, t, default_mask):
        """`default_mask` with the chosen elements zero as well."""
        count = _count(self.amount, t.nelement())
        mask = default_mask.clone(memory_format=flambeau.contiguous_format)
        if count:
            chosen = flambeau.topk(flambeau.abs(t).view(-1), k=count, largest=False).indices
            mask.view(-1)[chosen] = 0
        return mask

    @classmethod
    def apply(cls, module, name, amount, importance_scores=None):
        """See :meth:`BasePruningMethod.apply`."""
        return super().apply(module, name, amount=amount, importance_scores=importance_scores)


class RandomStructured(BasePruningMethod):
    """Prunes whole channels along `dim` at random: a share (float) or a number (int) of them."""

    PRUNING_TYPE = "structured"

    def __init__(self, amount, dim=-1):
        _check_amount(amount)
        self.amount = amount
        self.dim = dim

    def compute_mask(self, t, default_mask):
        """`default_mask` with the chosen channels zero as well."""
        _check_structured(t, self.dim)
        channels = t.shape[self.dim]
        count = _count(self.amount, channels)
        if count == 0:
            return default_mask
        draws = flambeau.rand(channels)
        keep = draws > flambeau.kthvalue(draws, k=count).values
        return _channel_mask(t, self.dim, keep) * default_mask.to(dtype=t.dtype)

    @classmethod
    def apply(cls, module, name, amount, dim=-1):
        """See :meth:`BasePruningMethod.apply`."""
        return super().apply(module, name, amount=amount, dim=dim)


class LnStructured(BasePruningMethod):
    """Prunes the channels along `dim` whose norm of order `n` is smallest: a share (float) or a number (int) of them."""

    PRUNING_TYPE = "structured"

    def __init__(self, amount, n, dim=-1):
        _check_amount(amount)
        self.amount = amount
        self.n = n
        self.dim = dim

    def compute_mask(self, t, default_mask):
        """`default_mask` with the chosen channels zero as well."""
        _check_structured(t, self.dim)
        channels = t.shape[self.dim]
        count = _count(self.amount, channels)
        if count == 0:
            return default_mask
        others = [d for d in range(t.dim()) if d != self.dim % t.dim()]
        norms = flambeau.norm(t, p=self.n, dim=others)
        keep = flambeau.topk(norms, k=channels - count, largest=True).indices
        return _channel_mask(t, self.dim, keep) * default_mask.to(dtype=t.dtype)

    @classmethod
    def apply(cls, module, name, amount, n, dim, importance_scores=None):
        """See :meth:`BasePruningMethod.apply`."""
        return super().apply(module, name, amount=amount, n=n, dim=dim, importance_scores=importance_scores)


class CustomFromMask(BasePruningMethod):
    """Prunes where `mask` is zero."""

    PRUNING_TYPE = "global"

    def __init__(self, mask):
        self.mask = mask

    def compute_mask(self, t, default_mask):
        """The product of both masks."""
        if default_mask.shape != self.mask.shape:
            raise AssertionError(
                f"default_mask shape {default_mask.shape} must match self.mask shape {self.mask.shape}"
            )
        return default_mask * self.mask.to(dtype=default_mask.dtype)

    @classmethod
    def apply(cls, module, name, mask):
        """See :meth:`BasePruningMethod.apply`."""
        return super().apply(module, name, mask=mask)


# ---- functions ---------------------------------------------------------------------------------------------------------


def identity(module, name):
    """Give ``module.name`` a mask of ones; returns `module`."""
    Identity.apply(module, name)
    return module


def random_unstructured(module, name, amount):
    """Prune a share (float) or a number (int) of the elements of ``module.name`` at random; returns `module`."""
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(module, name, amount, importance_scores=None):
    """Prune the share (float) or number (int) of elements of ``module.name`` that are smallest; returns `module`.

    importance_scores: a tensor of the parameter's shape, by which to choose in its place.

    >>> m = nn.utils.prune.l1_unstructured(nn.Linear(2, 3), "weight", amount=0.5)
    >>> int((m.weight == 0).sum())
    3
    """
    L1Unstructured.apply(module, name, amount=amount, importance_scores=importance_scores)
    return module


def random_structured(module, name, amount, dim):
    """Prune a share (float) or a number (int) of the channels of ``module.name`` along `dim`; returns `module`."""
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(module, name, amount, n, dim, importance_scores=None):
    """Prune the channels of ``module.name`` along `dim` whose norm of order `n` is smallest; returns `module`."""
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module, name, mask):
    """Prune ``module.name`` where `mask` is zero; returns `module`."""
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(parameters, pruning_method, importance_scores=None, **kwargs):
    """Prune several parameters together: the method chooses among the elements of all.

    Args:
        parameters: pairs of a module and the name of its parameter.
        pruning_method: a class of unstructured pruning, as :class:`L1Unstructured`; `kwargs` make it.
        importance_scores: tensors by such pairs, by which to choose in the parameters' place.
    """
    parameters = list(parameters)
    scores = {} if importance_scores is None else importance_scores
    if not isinstance(scores, dict):
        raise TypeError("global_unstructured(): importance_scores must be of type dict")
    if not parameters:
        raise ValueError(
            "global_unstructured(): expected at least one pair of a module and a parameter's name"
        )
    flat = flambeau.cat(
        [scores.get((module, name), getattr(module, name)).reshape(-1) for module, name in parameters]
    )
    masks = [
        getattr(module, name + "_mask", flambeau.ones_like(getattr(module, name)))
        for module, name in parameters
    ]
    container = PruningContainer()
    container._tensor_name = "all"
    method = pruning_method(**kwargs)
    method._tensor_name = "all"
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. Found method '
            f"{pruning_method} of type {method.PRUNING_TYPE}"
        )
    container.add_pruning_method(method)
    chosen = container.compute_mask(flat, flambeau.cat([mask.reshape(-1) for mask in masks]))
    start = 0
    for module, name in parameters:
        param = getattr(module, name)
        custom_from_mask(module, name, mask=chosen[start : start + param.numel()].view_as(param))
        start += param.numel()


def remove(module, name):
    """Make the pruning of ``module.name`` permanent: an ordinary parameter with zeros again; returns `module`."""
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed")


def is_pruned(module):
    """Whether the module, or one inside it, is pruned.

    >>> nn.utils.prune.is_pruned(nn.Linear(2, 3))
    False
    """
    return any(
        isinstance(hook, BasePruningMethod)
        for part in module.modules()
        for hook in part._forward_pre_hooks.values()
    )
