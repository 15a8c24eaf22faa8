"""Training of the two stamp generators: batches by step number, a running mean of the weights, checkpoints that go on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from tqdm.auto import tqdm

from utils.errors import CourseError
from utils.files import atomic_path
from utils.generation.cvae import CVAE, cvae_loss
from utils.generation.diffusion import cosine_schedule, diffusion_loss
from utils.generation.stamps import COLOURS, Stamps
from utils.generation.unet import UNet
from utils.training import make_optimiser

BATCH, MEAN, EVERY = 32, 0.998, 500  # pictures a step, share kept by the running mean, steps between checkpoints

FALL = 0.95  # the learning rate falls in a line to a twentieth


def batch_of(stamps: Stamps, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Draw pictures, every second one mirrored, and their conditions: (b, 3, size, size), (b,), (b,)."""
    rows = torch.randint(len(stamps.pictures), (BATCH,), generator=generator)
    mirrored = (torch.rand(BATCH, generator=generator) < 0.5)[:, None, None, None]
    pictures = stamps.pictures[rows]
    return torch.where(mirrored, pictures.flip(3), pictures), stamps.hues[rows], stamps.categories[rows]


def new_model(name: str, stamps: Stamps, seed: int = 0) -> CVAE | UNet:
    """An untrained "cvae" or "diffusion" network for these conditions and this size."""
    n = (len(COLOURS), len(stamps.names))
    return CVAE(*n, size=stamps.size, seed=seed) if name == "cvae" else UNet(*n, seed=seed)


def train(
    name: str, stamps: Stamps, n_steps: int, *, lr: float = 1e-3, seed: int = 0, checkpoint: Path | None = None,
    bfloat16: bool = False, beta: float = 1.0, report: Callable[[int, float], None] | None = None,
) -> nn.Module:  # fmt: skip
    """Train "cvae" or "diffusion" on stamps; return the running mean of its weights, in eval mode.

    Args:
        checkpoint: a file that is written every 500 steps, and gone on from where it fits.
        bfloat16: multiply in 16 bits (half the time on processors that know how), all else in 32.
        report: called every 500 steps with the step and the mean loss since the last call.

    Raises:
        CourseError: a checkpoint of another run.
    """
    model = new_model(name, stamps, seed)
    mean, optimiser, left = copy.deepcopy(model), make_optimiser(model, lr), cosine_schedule()
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda k: min(1, (k + 1) / 200) * (1 - FALL * k / n_steps))
    parts = {"model": model, "mean": mean, "optimiser": optimiser, "schedule": schedule}
    run = {"name": name, "n_steps": n_steps, "seed": seed, "lr": lr}
    start, losses = _resume(checkpoint, parts, run), []
    for step in tqdm(range(start, n_steps), desc=name, initial=start, total=n_steps, mininterval=5):
        generator = torch.Generator().manual_seed(1_000_003 * seed + step)  # a run that goes on draws the same batches
        x, hues, categories = batch_of(stamps, generator)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            if name == "cvae":
                loss = sum(cvae_loss(model, x, hues, categories, generator, beta))
            else:
                loss = diffusion_loss(model, x, hues, categories, left, generator)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0 if name == "diffusion" else 100.0)
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            kept = min(MEAN, (1 + step) / (10 + step))  # the first steps are forgotten at once
            torch._foreach_lerp_(list(mean.parameters()), list(model.parameters()), 1 - kept)
        losses.append(loss.detach())
        if (step + 1) % EVERY == 0 or step + 1 == n_steps:
            if report is not None:
                report(step + 1, torch.stack(losses).mean().item())
            losses.clear()
            if checkpoint is not None:
                with atomic_path(checkpoint) as temporary:
                    torch.save({"run": run, "step": step + 1, **{key: part.state_dict() for key, part in parts.items()}}, temporary)  # fmt: skip
    return mean.eval().requires_grad_(False)


def _resume(checkpoint: Path | None, parts: dict, run: dict) -> int:
    """Put what a checkpoint holds into the parts; return the step to go on with."""
    if checkpoint is None or not checkpoint.is_file():
        return 0
    try:
        stored = torch.load(checkpoint, weights_only=True)
        if stored["run"] != run:
            raise ValueError(f"it is of {stored['run']}")
        for key, part in parts.items():
            part.load_state_dict(stored[key])
    except Exception as error:  # noqa: BLE001  damaged files raise many kinds of errors
        raise CourseError(f"{checkpoint} cannot be gone on from ({error}); delete it to begin anew.") from None
    return int(stored["step"])
