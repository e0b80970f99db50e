"""Module hooks: the global registries, registration, and the call path that runs them.

A module without hooks never reaches this file: `Module.__call__` goes straight to `forward`.
"""

import warnings
from collections import OrderedDict

import flambeau

from ...utils.hooks import RemovableHandle

_global_backward_pre_hooks = OrderedDict()
_global_backward_hooks = OrderedDict()
_global_forward_pre_hooks = OrderedDict()
_global_forward_hooks = OrderedDict()
_global_forward_hooks_always_called = OrderedDict()
_global_forward_hooks_with_kwargs = OrderedDict()
_global_parameter_registration_hooks = OrderedDict()
_global_buffer_registration_hooks = OrderedDict()
_global_module_registration_hooks = OrderedDict()

# Global backward hooks are all of one kind, as a module's own are: None until the first is registered.
_global_backward_kind = {"full": None}


def _register(hooks, hook, *flags, prepend=False):
    """Add `hook` to `hooks` and its id to every dictionary of `flags`."""
    handle = RemovableHandle(hooks, extra_dict=list(flags) or None)
    hooks[handle.id] = hook
    for flag in flags:
        flag[handle.id] = True
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


def register_module_parameter_registration_hook(hook):
    """Call ``hook(module, name, param)`` whenever any module registers a parameter; its result replaces it."""
    return _register(_global_parameter_registration_hooks, hook)


def register_module_buffer_registration_hook(hook):
    """Call ``hook(module, name, buffer)`` whenever any module registers a buffer; its result replaces it."""
    return _register(_global_buffer_registration_hooks, hook)


def register_module_module_registration_hook(hook):
    """Call ``hook(module, name, submodule)`` whenever any module registers a child; its result replaces it."""
    return _register(_global_module_registration_hooks, hook)


def register_module_forward_pre_hook(hook):
    """Call ``hook(module, args)`` before every module's forward; its result replaces the arguments."""
    return _register(_global_forward_pre_hooks, hook)


def register_module_forward_hook(hook, *, with_kwargs=False, always_call=False):
    """Call ``hook(module, args, output)`` after every module's forward; its result replaces the output.

    Args:
        with_kwargs: call it as ``hook(module, args, kwargs, output)`` instead.
        always_call: call it even when forward raises.
    """
    flags = [_global_forward_hooks_with_kwargs] if with_kwargs else []
    flags += [_global_forward_hooks_always_called] if always_call else []
    return _register(_global_forward_hooks, hook, *flags)


_MIXED_KINDS = (
    "Cannot use both regular backward hooks and full backward hooks on a single Module. "
    "Please use only one of them."
)
_MIXED_GLOBAL_KINDS = (
    "Cannot use both regular backward hooks and full backward hooks as a global Module hook. "
    "Please use only one of them."
)


def register_module_backward_hook(hook):
    """The older form of :func:`register_module_full_backward_hook`, kept for programs that still use it."""
    if _global_backward_kind["full"] is True:
        raise RuntimeError(_MIXED_GLOBAL_KINDS)
    _global_backward_kind["full"] = False
    return _register(_global_backward_hooks, hook)


def register_module_full_backward_pre_hook(hook):
    """Call ``hook(module, grad_output)`` before every module's backward; its result replaces grad_output."""
    return _register(_global_backward_pre_hooks, hook)


def register_module_full_backward_hook(hook):
    """Call ``hook(module, grad_input, grad_output)`` after every module's backward."""
    if _global_backward_kind["full"] is False:
        raise RuntimeError(_MIXED_GLOBAL_KINDS)
    _global_backward_kind["full"] = True
    return _register(_global_backward_hooks, hook)


class HookMixin:
    """The hook methods of :class:`Module`."""

    def register_forward_pre_hook(self, hook, *, prepend=False, with_kwargs=False):
        """Call ``hook(module, args)`` before forward; a result other than None replaces the arguments.

        Args:
            prepend: run it before the hooks registered so far. Default: False.
            with_kwargs: call ``hook(module, args, kwargs)``; a result is then a tuple ``(args, kwargs)``.
        """
        flags = [self._forward_pre_hooks_with_kwargs] if with_kwargs else []
        return _register(self._forward_pre_hooks, hook, *flags, prepend=prepend)

    def register_forward_hook(self, hook, *, prepend=False, with_kwargs=False, always_call=False):
        """Call ``hook(module, args, output)`` after forward; a result other than None replaces the output.

        Args:
            prepend: run it before the hooks registered so far. Default: False.
            with_kwargs: call ``hook(module, args, kwargs, output)``.
            always_call: call it even when forward raises (output is then None).
        """
        flags = [self._forward_hooks_with_kwargs] if with_kwargs else []
        flags += [self._forward_hooks_always_called] if always_call else []
        return _register(self._forward_hooks, hook, *flags, prepend=prepend)

    def register_full_backward_pre_hook(self, hook, prepend=False):
        """Call ``hook(module, grad_output)`` when the gradients of the outputs are known; may replace them."""
        return _register(self._backward_pre_hooks, hook, prepend=prepend)

    def register_full_backward_hook(self, hook, prepend=False):
        """Call ``hook(module, grad_input, grad_output)`` when the gradients of the inputs are known.

        A result other than None replaces grad_input. Inputs and outputs that are not tensors have None.
        """
        if self._is_full_backward_hook is False:
            raise RuntimeError(_MIXED_KINDS)
        self._is_full_backward_hook = True
        return _register(self._backward_hooks, hook, prepend=prepend)

    def register_backward_hook(self, hook):
        """The older form of :meth:`register_full_backward_hook`: sees the last node of forward only."""
        if self._is_full_backward_hook is True:
            raise RuntimeError(_MIXED_KINDS)
        self._is_full_backward_hook = False
        return _register(self._backward_hooks, hook)

    def _get_backward_hooks(self):
        full, regular = [], []
        for kind, hooks in (
            (_global_backward_kind["full"], _global_backward_hooks),
            (self._is_full_backward_hook, self._backward_hooks),
        ):
            (full if kind else regular).extend(hooks.values())
        return full, regular

    def _get_backward_pre_hooks(self):
        return [*_global_backward_pre_hooks.values(), *self._backward_pre_hooks.values()]


def call_with_hooks(module, args, kwargs):
    """Run `module.forward` with every hook that applies to it."""
    full_backward, regular_backward = module._get_backward_hooks()
    backward_pre = module._get_backward_pre_hooks()
    called = set()
    result = None

    def run_forward_hook(hook_id, hook, with_kwargs):
        nonlocal result
        called.add(hook_id)
        replaced = hook(module, args, kwargs, result) if with_kwargs else hook(module, args, result)
        if replaced is not None:
            result = replaced

    try:
        for hook_id, hook in (*_global_forward_pre_hooks.items(), *module._forward_pre_hooks.items()):
            if hook_id in module._forward_pre_hooks_with_kwargs:
                replaced = hook(module, args, kwargs)
                if replaced is not None:
                    if not (isinstance(replaced, tuple) and len(replaced) == 2):
                        raise RuntimeError(
                            f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {replaced}."
                        )
                    args, kwargs = replaced
            else:
                replaced = hook(module, args)
                if replaced is not None:
                    args = replaced if isinstance(replaced, tuple) else (replaced,)

        boundary = None
        if full_backward or backward_pre:
            boundary = BackwardHook(module, full_backward, backward_pre)
            args = boundary.setup_input_hook(args)

        result = module.forward(*args, **kwargs)

        for hook_id, hook in _global_forward_hooks.items():
            run_forward_hook(hook_id, hook, hook_id in _global_forward_hooks_with_kwargs)
        for hook_id, hook in module._forward_hooks.items():
            run_forward_hook(hook_id, hook, hook_id in module._forward_hooks_with_kwargs)

        if boundary is not None:
            if not isinstance(result, (flambeau.Tensor, tuple)):
                warnings.warn(
                    "For backward hooks to be called, module output should be a Tensor or a tuple of Tensors "
                    f"but received {type(result)}",
                    stacklevel=3,
                )
            result = boundary.setup_output_hook(result)
        if regular_backward:
            _attach_regular_hooks(module, regular_backward, result)
        return result
    except Exception:
        for scope, hooks, always, with_kwargs in (
            (
                "global module",
                _global_forward_hooks,
                _global_forward_hooks_always_called,
                _global_forward_hooks_with_kwargs,
            ),
            (
                "module",
                module._forward_hooks,
                module._forward_hooks_always_called,
                module._forward_hooks_with_kwargs,
            ),
        ):
            for hook_id, hook in hooks.items():
                if hook_id in always and hook_id not in called:
                    try:
                        run_forward_hook(hook_id, hook, hook_id in with_kwargs)
                    except Exception as error:
                        warnings.warn(
                            f"{scope} forward hook with ``always_call=True`` raised an exception that was silenced "
                            f"as another error was raised in forward: {error}",
                            stacklevel=3,
                        )
        raise


def _attach_regular_hooks(module, hooks, result):
    """Old style hooks sit on the node that made the (first) output."""
    output = result
    while not isinstance(output, flambeau.Tensor):
        if isinstance(output, dict):
            output = next((v for v in output.values() if isinstance(v, flambeau.Tensor)), None)
        elif isinstance(output, (tuple, list)) and output:
            output = output[0]
        else:
            return
        if output is None:
            return
    grad_fn = output.grad_fn
    if grad_fn is not None:
        for hook in hooks:
            grad_fn.register_hook(
                lambda grad_input, grad_output, hook=hook: hook(module, grad_input, grad_output)
            )


class BackwardHook:
    """Puts an identity node before and after a module's forward, and runs its backward hooks at these nodes."""

    def __init__(self, module, user_hooks, user_pre_hooks):
        self.module = module
        self.user_hooks = user_hooks
        self.user_pre_hooks = user_pre_hooks
        self.grad_outputs = None
        self.n_inputs = -1
        self.input_tensors_index = None
        self.n_outputs = -1
        self.output_tensors_index = None

    def setup_input_hook(self, args):
        """Return `args` with their tensors passed through the input node."""
        self.n_inputs = len(args)
        args, self.input_tensors_index = self._insert(args, self._on_grad_inputs)
        return args

    def setup_output_hook(self, outputs):
        """Return `outputs` with their tensors passed through the output node."""
        single = not isinstance(outputs, tuple)
        if single:
            outputs = (outputs,)
        self.n_outputs = len(outputs)
        outputs, self.output_tensors_index = self._insert(outputs, self._on_grad_outputs)
        return outputs[0] if single else outputs

    def _insert(self, values, callback):
        index = [i for i, value in enumerate(values) if isinstance(value, flambeau.Tensor)]
        tensors = [values[i] for i in index]
        if not (flambeau.is_grad_enabled() and any(t.requires_grad for t in tensors)):
            return values, None
        passed = _boundary_function().apply(callback, *tensors)
        values_out = list(values)
        for i, tensor in zip(index, passed, strict=True):
            values_out[i] = tensor
        if type(values) is not tuple and isinstance(values, tuple):  # a named tuple keeps its type
            return type(values)(*values_out), index
        return tuple(values_out), index

    @staticmethod
    def _spread(index, grads, size):
        full = [None] * size
        for i, grad in zip(index, grads, strict=True):
            full[i] = grad
        return tuple(full)

    def _on_grad_outputs(self, grads):
        grad_outputs = self._spread(self.output_tensors_index, grads, self.n_outputs)
        for hook in self.user_pre_hooks:
            replaced = hook(self.module, grad_outputs)
            if replaced is None:
                continue
            if not isinstance(replaced, tuple):
                replaced = (replaced,)
            if len(replaced) != len(grad_outputs):
                raise RuntimeError(
                    "Backward pre hook returned an invalid number of grad_output, "
                    f"got {len(replaced)}, but expected {len(grad_outputs)}"
                )
            grad_outputs = replaced
        self.grad_outputs = grad_outputs
        if self.input_tensors_index is None:
            # No input takes part in backward: the hooks run now, with nothing to replace.
            warnings.warn(
                "Full backward hook is firing when gradients are computed with respect to module outputs since no "
                "inputs require gradients",
                stacklevel=5,
            )
            for hook in self.user_hooks:
                replaced = hook(self.module, (None,) * self.n_inputs, grad_outputs)
                if replaced is not None and any(grad is not None for grad in _as_tuple(replaced)):
                    raise RuntimeError(
                        "Backward hook for Modules where no input requires gradient should always return None or "
                        "None for all gradients."
                    )
            self.grad_outputs = None
        return tuple(grad_outputs[i] for i in self.output_tensors_index)

    def _on_grad_inputs(self, grads):
        if self.grad_outputs is None:
            raise RuntimeError(
                "Module backward hook for grad_input is called before the grad_output one. This happens because the "
                "gradient in your nn.Module flows to the Module's input without passing through the Module's output. "
                "Make sure that the output depends on the input and that the loss is computed based on the output."
            )
        grad_inputs = self._spread(self.input_tensors_index, grads, self.n_inputs)
        for hook in self.user_hooks:
            replaced = hook(self.module, grad_inputs, self.grad_outputs)
            if replaced is None:
                continue
            replaced = _as_tuple(replaced)
            if len(replaced) != len(grad_inputs):
                raise RuntimeError(
                    "Backward hook returned an invalid number of grad_input, "
                    f"got {len(replaced)}, but expected {len(grad_inputs)}"
                )
            grad_inputs = replaced
        self.grad_outputs = None
        return tuple(grad_inputs[i] for i in self.input_tensors_index)


def _as_tuple(value):
    return value if isinstance(value, tuple) else (value,)


_boundary = None


def _boundary_function():
    """The identity `Function` of `BackwardHook`, made when first needed (autograd loads lazily)."""
    global _boundary
    if _boundary is None:

        class BackwardHookFunction(flambeau.autograd.Function):
            @staticmethod
            def forward(ctx, callback, *tensors):
                ctx.callback = callback
                ctx.set_materialize_grads(False)
                passed = tuple(tensor.view_as(tensor) for tensor in tensors)
                ctx.mark_non_differentiable(
                    *(out for out, tensor in zip(passed, tensors, strict=True) if not tensor.requires_grad)
                )
                return passed

            @staticmethod
            def backward(ctx, *grads):
                return None, *ctx.callback(grads)

        _boundary = BackwardHookFunction
    return _boundary
