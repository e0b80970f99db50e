"""L-BFGS."""

import math

import flambeau

from .optimizer import Optimizer

__all__ = ["LBFGS"]


def _cubic_minimum(x1, f1, g1, x2, f2, g2, bounds=None):
    """Where the cubic through two points with these slopes is smallest, within `bounds`."""
    low, high = bounds if bounds is not None else (x1, x2) if x1 <= x2 else (x2, x1)
    d1 = g1 + g2 - 3 * (f1 - f2) / (x1 - x2) if x1 != x2 else math.nan
    square = d1**2 - g1 * g2
    if not square >= 0:
        return (low + high) / 2.0
    d2 = square**0.5
    if x1 <= x2:
        position = x2 - (x2 - x1) * ((g2 + d2 - d1) / (g2 - g1 + 2 * d2))
    else:
        position = x1 - (x1 - x2) * ((g1 + d2 - d1) / (g1 - g2 + 2 * d2))
    return min(max(position, low), high)


def _strong_wolfe(objective, x, t, d, f, g, slope, c1=1e-4, c2=0.9, tolerance_change=1e-9, max_ls=25):
    """A step length that satisfies the strong Wolfe conditions (Nocedal and Wright, algorithms 3.5 and 3.6).

    Returns loss, gradient and step there, and the number of evaluations.
    """
    d_norm = d.abs().max()
    g = g.clone(memory_format=flambeau.contiguous_format)
    f_new, g_new = objective(x, t, d)
    evaluations = 1
    slope_new = g_new.dot(d)

    # First find an interval that holds such a step.
    t_prev, f_prev, g_prev, slope_prev = 0, f, g, slope
    done = False
    iteration = 0
    while iteration < max_ls:
        if f_new > f + c1 * t * slope or (iteration > 1 and f_new >= f_prev):
            bracket = [(t_prev, f_prev, g_prev, slope_prev), (t, f_new, g_new, slope_new)]
            break
        if abs(slope_new) <= -c2 * slope:
            bracket = [(t, f_new, g_new, slope_new)]
            done = True
            break
        if slope_new >= 0:
            bracket = [(t_prev, f_prev, g_prev, slope_prev), (t, f_new, g_new, slope_new)]
            break
        smallest, largest = t + 0.01 * (t - t_prev), t * 10
        before = t
        t = _cubic_minimum(t_prev, f_prev, slope_prev, t, f_new, slope_new, (smallest, largest))
        t_prev, f_prev, slope_prev = before, f_new, slope_new
        g_prev = g_new.clone(memory_format=flambeau.contiguous_format)
        f_new, g_new = objective(x, t, d)
        evaluations += 1
        slope_new = g_new.dot(d)
        iteration += 1
    else:
        bracket = [(0, f, g, slope), (t, f_new, g_new, slope_new)]

    # Then shrink it.
    stalled = False
    low, high = (0, 1) if bracket[0][1] <= bracket[-1][1] else (1, 0)
    while not done and iteration < max_ls:
        left, right = bracket[0][0], bracket[1][0]
        if abs(right - left) * d_norm < tolerance_change:
            break
        t = _cubic_minimum(left, bracket[0][1], bracket[0][3], right, bracket[1][1], bracket[1][3])
        # Too close to an end: move a tenth of the interval away, at the latest the second time.
        ends = sorted((left, right))
        margin = 0.1 * (ends[1] - ends[0])
        if min(ends[1] - t, t - ends[0]) < margin:
            if stalled or t >= ends[1] or t <= ends[0]:
                t = ends[1] - margin if abs(t - ends[1]) < abs(t - ends[0]) else ends[0] + margin
                stalled = False
            else:
                stalled = True
        else:
            stalled = False
        f_new, g_new = objective(x, t, d)
        evaluations += 1
        slope_new = g_new.dot(d)
        iteration += 1
        point = (t, f_new, g_new.clone(memory_format=flambeau.contiguous_format), slope_new)
        if f_new > f + c1 * t * slope or f_new >= bracket[low][1]:
            bracket[high] = point
            low, high = (0, 1) if bracket[0][1] <= bracket[1][1] else (1, 0)
        else:
            if abs(slope_new) <= -c2 * slope:
                done = True
            elif slope_new * (bracket[high][0] - bracket[low][0]) >= 0:
                bracket[high] = bracket[low]
            bracket[low] = point
    t, f_new, g_new, _ = bracket[low] if len(bracket) > 1 else bracket[0]
    return f_new, g_new, t, evaluations


class LBFGS(Optimizer):
    """Quasi-Newton method with limited memory; ``step`` needs a closure that computes loss and gradients.

    Args:
        lr: step length (the first guess of the line search). Default: 1.
        max_iter: iterations per step. Default: 20.
        max_eval: evaluations per step. Default: ``max_iter * 1.25``.
        tolerance_grad, tolerance_change: when to stop. Default: 1e-7, 1e-9.
        history_size: pairs of steps and gradient changes that are kept. Default: 100.
        line_search_fn: None (default) or 'strong_wolfe'.

    One parameter group only.
    """

    def __init__(
        self,
        params,
        lr=1,
        max_iter=20,
        max_eval=None,
        tolerance_grad=1e-7,
        tolerance_change=1e-9,
        history_size=100,
        line_search_fn=None,
    ):
        if isinstance(lr, flambeau.Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not 0.0 <= lr:
            raise ValueError(f"Invalid learning rate: {lr}")
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        self._params = self.param_groups[0]["params"]

    def _flat_grad(self):
        parts = []
        for param in self._params:
            grad = flambeau.zeros_like(param) if param.grad is None else param.grad
            grad = grad.to_dense()
            parts.append((flambeau.view_as_real(grad) if grad.is_complex() else grad).reshape(-1))
        return flambeau.cat(parts)

    def _move(self, step, direction):
        start = 0
        for param in self._params:
            target = flambeau.view_as_real(param) if param.is_complex() else param
            end = start + target.numel()
            target.add_(direction[start:end].view_as(target), alpha=float(step))
            start = end

    def _values(self):
        return [param.clone(memory_format=flambeau.contiguous_format) for param in self._params]

    def _restore(self, values):
        for param, value in zip(self._params, values, strict=True):
            param.copy_(value)

    def _evaluate_at(self, closure, x, step, direction):
        self._move(step, direction)
        loss = float(closure())
        grad = self._flat_grad()
        self._restore(x)
        return loss, grad

    @staticmethod
    def _direction(grad, dirs, steps, ro, diagonal, weights):
        """Minus the approximate inverse Hessian times the gradient, by the two-loop recursion.

        `weights` keeps the first loop's results (PyTorch saves this list with the state).
        """
        q = grad.neg()
        for i in range(len(dirs) - 1, -1, -1):
            weights[i] = steps[i].dot(q) * ro[i]
            q.add_(dirs[i], alpha=-weights[i].item())
        r = q * diagonal
        for i in range(len(dirs)):
            r.add_(steps[i], alpha=(weights[i] - dirs[i].dot(r) * ro[i]).item())
        return r

    def step(self, closure):
        """Run up to `max_iter` iterations; returns the loss at the start."""
        with flambeau.no_grad():
            return self._step(closure)

    def _step(self, closure):
        def evaluate():
            with flambeau.enable_grad():
                return closure()

        group = self.param_groups[0]
        lr = group["lr"]
        search = group["line_search_fn"]
        if search not in (None, "strong_wolfe"):
            raise RuntimeError("only 'strong_wolfe' is supported")
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)

        original_loss = evaluate()
        loss = float(original_loss)
        evaluations = 1
        state["func_evals"] += 1
        grad = self._flat_grad()
        if grad.abs().max() <= group["tolerance_grad"]:
            return original_loss

        d, t = state.get("d"), state.get("t")
        dirs, steps, ro = state.get("old_dirs"), state.get("old_stps"), state.get("ro")
        diagonal = state.get("H_diag")
        prev_grad, prev_loss = state.get("prev_flat_grad"), state.get("prev_loss")
        iterations = 0
        while iterations < group["max_iter"]:
            iterations += 1
            state["n_iter"] += 1
            if state["n_iter"] == 1:
                d = grad.neg()
                dirs, steps, ro, diagonal = [], [], [], 1
            else:
                y = grad.sub(prev_grad)
                s = d.mul(t)
                ys = y.dot(s)
                if ys > 1e-10:
                    if len(dirs) == group["history_size"]:
                        dirs.pop(0)
                        steps.pop(0)
                        ro.pop(0)
                    dirs.append(y)
                    steps.append(s)
                    ro.append(1.0 / ys)
                    diagonal = ys / y.dot(y)
                weights = state.setdefault("al", [None] * group["history_size"])
                d = self._direction(grad, dirs, steps, ro, diagonal, weights)
            if prev_grad is None:
                prev_grad = grad.clone(memory_format=flambeau.contiguous_format)
            else:
                prev_grad.copy_(grad)
            prev_loss = loss
            t = min(1.0, 1.0 / grad.abs().sum()) * lr if state["n_iter"] == 1 else lr
            slope = grad.dot(d)
            if slope > -group["tolerance_change"]:
                break
            step_evaluations = 0
            if search is not None:
                start = self._values()
                loss, grad, t, step_evaluations = _strong_wolfe(
                    lambda x, t, d: self._evaluate_at(evaluate, x, t, d),
                    start,
                    t,
                    d,
                    loss,
                    grad,
                    slope,
                    max_ls=min(25, max(0, group["max_eval"] - evaluations)),
                )
                self._move(t, d)
                optimal = grad.abs().max() <= group["tolerance_grad"]
            else:
                self._move(t, d)
                optimal = False
                if iterations != group["max_iter"]:
                    # The last iteration's gradient would not be used.
                    loss = float(evaluate())
                    grad = self._flat_grad()
                    optimal = grad.abs().max() <= group["tolerance_grad"]
                    step_evaluations = 1
            evaluations += step_evaluations
            state["func_evals"] += step_evaluations
            if iterations == group["max_iter"] or evaluations >= group["max_eval"] or optimal:
                break
            if d.mul(t).abs().max() <= group["tolerance_change"]:
                break
            if abs(loss - prev_loss) < group["tolerance_change"]:
                break
        state.update(
            d=d,
            t=t,
            old_dirs=dirs,
            old_stps=steps,
            ro=ro,
            H_diag=diagonal,
            prev_flat_grad=prev_grad,
            prev_loss=prev_loss,
        )
        return original_loss
