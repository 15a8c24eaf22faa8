"""Where a network computes, on the processor or on an accelerator that this machine has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from utils.errors import CourseError, suggest

DEVICES = ("auto", "cpu", "cuda", "mps")


def available() -> list[str]:
    """The kinds of device that this machine's torch can use, the fastest first; "cpu" is always the last."""
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return [kind for kind, there in found.items() if there]


def pick_device(name: str = "cpu") -> torch.device:
    """The device of that name.

    Args:
        name: ``auto`` (the fastest that is there), ``cpu``, ``cuda``, ``mps``, or one of several such as ``cuda:1``.

    Raises:
        CourseError: no such name, or this machine has no such device.
    """
    kind, _, number = str(name).partition(":")
    if kind not in DEVICES or (number and (kind != "cuda" or not number.isdigit())):
        raise suggest(str(name), [*DEVICES, "cuda:0"], "device")
    found = available()
    if kind == "auto":
        return torch.device(found[0])
    if kind not in found:
        raise CourseError(
            f"device {name}: this machine has no {kind} device that torch {torch.__version__} can use "
            f"(it has {', '.join(found)}); set device to auto or cpu."
        )
    if number and int(number) >= torch.cuda.device_count():
        raise CourseError(
            f"device {name}: this machine has {torch.cuda.device_count()} cuda device(s), counted from 0; name one of them."
        )
    return torch.device(str(name))


@contextmanager
def exact(device: torch.device, at_once: int) -> Iterator[None]:
    """Context in which a device computes in full float32 (no TF32 on NVIDIA); running out of its memory is a CourseError.

    Args:
        device: where the network computes.
        at_once: how many inputs it was given, for the message.

    Raises:
        CourseError: the device's memory does not hold the batch.
    """
    try:
        if device.type != "cuda":
            yield
        else:
            flags = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
            with flags:
                yield
    except torch.cuda.OutOfMemoryError:
        raise CourseError(f"{device} has no room for {at_once} inputs at once; set batch_size to less.") from None
