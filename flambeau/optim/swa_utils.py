"""Averages of a model's parameters over the course of training."""

import math
from copy import deepcopy

import flambeau

from ..nn.modules.module import Module
from .lr_scheduler import LRScheduler, _per_group

__all__ = [
    "AveragedModel",
    "update_bn",
    "SWALR",
    "get_ema_multi_avg_fn",
    "get_swa_multi_avg_fn",
    "get_ema_avg_fn",
    "get_swa_avg_fn",
]


def _check_decay(decay):
    if decay < 0.0 or decay > 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")


def get_ema_avg_fn(decay=0.999):
    """A function for one parameter: ``decay * average + (1 - decay) * present``."""
    _check_decay(decay)

    def ema_update(ema_param, current_param, num_averaged):
        with flambeau.no_grad():
            return decay * ema_param + (1 - decay) * current_param

    return ema_update


def get_swa_avg_fn():
    """A function for one parameter: the mean of all values so far."""

    def swa_update(averaged_param, current_param, num_averaged):
        with flambeau.no_grad():
            return averaged_param + (current_param - averaged_param) / (num_averaged + 1)

    return swa_update


def get_ema_multi_avg_fn(decay=0.999):
    """:func:`get_ema_avg_fn` for lists of parameters, in place."""
    _check_decay(decay)

    def ema_update(ema_params, current_params, _):
        with flambeau.no_grad():
            for ema_param, param in zip(ema_params, current_params, strict=True):
                if ema_param.is_floating_point() or ema_param.is_complex():
                    ema_param.lerp_(param, 1 - decay)
                else:
                    ema_param.copy_(ema_param * decay + param * (1 - decay))

    return ema_update


def get_swa_multi_avg_fn():
    """:func:`get_swa_avg_fn` for lists of parameters, in place."""

    def swa_update(averaged_params, current_params, num_averaged):
        share = 1 / (float(num_averaged) + 1)
        with flambeau.no_grad():
            for averaged, param in zip(averaged_params, current_params, strict=True):
                if averaged.is_floating_point() or averaged.is_complex():
                    averaged.lerp_(param, share)
                else:
                    averaged.add_((param - averaged) * share)

    return swa_update


class AveragedModel(Module):
    """A copy of a model whose parameters are averages of the model's over all calls of `update_parameters`.

    Args:
        avg_fn, multi_avg_fn: how a value joins the average, per parameter or for all at once. Default: the mean.
        use_buffers: average the buffers too, instead of copying them. Default: False.
    """

    def __init__(self, model, device=None, avg_fn=None, multi_avg_fn=None, use_buffers=False):
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", flambeau.tensor(0, dtype=flambeau.long, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args, **kwargs):
        return self.module(*args, **kwargs)

    def update_parameters(self, model):
        """Let the present parameters of `model` join the averages."""
        if self.use_buffers:
            own = [*self.module.parameters(), *self.module.buffers()]
            present = [*model.parameters(), *model.buffers()]
        else:
            own, present = list(self.parameters()), list(model.parameters())
        own = [tensor.detach() for tensor in own]
        present = [p.detach().to(o.device) for o, p in zip(own, present, strict=True)]
        if int(self.n_averaged) == 0:
            for averaged, param in zip(own, present, strict=True):
                averaged.copy_(param)
        elif self.multi_avg_fn is not None:
            self.multi_avg_fn(own, present, self.n_averaged)
        elif self.avg_fn is not None:
            for averaged, param in zip(own, present, strict=True):
                averaged.copy_(self.avg_fn(averaged, param, self.n_averaged))
        else:
            get_swa_multi_avg_fn()(own, present, self.n_averaged)
        if not self.use_buffers:
            for averaged, buffer in zip(self.module.buffers(), model.buffers(), strict=True):
                averaged.detach().copy_(buffer.detach().to(averaged.device))
        self.n_averaged += 1


def update_bn(loader, model, device=None):
    """Compute the running statistics of all batch normalisations in `model` anew, in one pass over `loader`."""
    from ..nn.modules.batchnorm import _BatchNorm

    momenta = {}
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.reset_running_stats()
            momenta[module] = module.momentum
    if not momenta:
        return
    was_training = model.training
    model.train()
    for module in momenta:
        module.momentum = None
    with flambeau.no_grad():
        for batch in loader:
            if isinstance(batch, (list, tuple)):
                batch = batch[0]
            model(batch if device is None else batch.to(device))
    for module, momentum in momenta.items():
        module.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """The rate goes to `swa_lr` within `anneal_epochs` ('cos' or 'linear') and stays there."""

    def __init__(self, optimizer, swa_lr, anneal_epochs=10, anneal_strategy="cos", last_epoch=-1):
        for rate, group in zip(_per_group(optimizer, "swa_lr", swa_lr), optimizer.param_groups, strict=True):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _share(self, epoch):
        """How far the way to `swa_lr` is done at `epoch`."""
        part = max(0.0, min(1.0, epoch / max(1, self.anneal_epochs)))
        return (1 - math.cos(math.pi * part)) / 2 if self._anneal_strategy == "cos" else part

    def get_lr(self):
        # `_step_count` is the number of steps so far, the one of the constructor included.
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._share(step - 1), self._share(step)
        rates = []
        for group in self.optimizer.param_groups:
            target = group["swa_lr"]
            if before == 1:
                rates.append(target)
                continue
            start = (group["lr"] - before * target) / (1 - before)
            rates.append(now * target + (1 - now) * start)
        return rates
