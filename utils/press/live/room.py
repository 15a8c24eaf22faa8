"""The live path, the checks before a lecture (packages, disk, port, weights, browser): a line each, with its remedy."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import socket
import sys
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from utils.errors import CourseError
from utils.files import ROOT

DISK_GB = (2.0, 0.5)  # warn below the first, fail below the second: executed copies need about a tenth of a GB
MEMORY_GB = (4.0, 1.5)  # the largest kernel of the live path takes about 1 GB, the browser another
PORT = 8888


@dataclass(frozen=True)
class Check:
    """What was looked at: status is ``ok``, ``warn`` or ``FAIL``; a remedy for all but ok."""

    status: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        tail = f" -> {self.remedy}" if self.remedy else ""
        return f"{'[' + self.status + ']':<7}{self.what}{tail}"


def python() -> Check:
    """Is this Python one that the course supports?"""
    version = sys.version_info[:2]
    if version < (3, 10):
        return Check("FAIL", f"Python {platform.python_version()} is too old", "make env PYTHON=python3.12")
    if version > (3, 13):
        return Check("warn", f"Python {platform.python_version()} is newer than any the course was tested with", "make env PYTHON=python3.12")  # fmt: skip
    return Check("ok", f"Python {platform.python_version()}")


def packages(requirements: Path = ROOT / "requirements.txt") -> Check:
    """Do the installed packages fit requirements.txt?"""
    from packaging.requirements import Requirement

    wrong, count = [], 0
    for line in requirements.read_text(encoding="utf-8").splitlines():
        line = line.split("#")[0].strip()
        if not line:
            continue
        wanted, count = Requirement(line), count + 1
        try:
            version = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{wanted.name} is missing")
            continue
        if not wanted.specifier.contains(version, prereleases=True):
            wrong.append(f"{wanted.name} is {version}, wanted {wanted.specifier}")
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        return Check("FAIL", f"packages: {'; '.join(wrong[:3])}{more}", "make env (needs a network once)")
    return Check("ok", f"{count} packages fit requirements.txt")


def _amount(what: str, gigabytes: float, limits: tuple[float, float], remedy: str) -> Check:
    words = f"{gigabytes:.1f} GB of {what} free"
    warn, fail = limits
    if gigabytes < fail:
        return Check("FAIL", f"{words}, the live path needs {fail:g}", remedy)
    return Check("warn", f"{words}, {warn:g} would be comfortable", remedy) if gigabytes < warn else Check("ok", words)


def disk(folder: Path = ROOT) -> Check:
    """Is there room for the executed copies and the caches?"""
    return _amount(
        "disk", shutil.disk_usage(folder).free / 2**30, DISK_GB, "empty the bin, or make clean in other courses"
    )


def memory() -> Check:
    """Is there memory for a kernel beside the browser?"""
    import psutil

    free = psutil.virtual_memory().available / 2**30
    return _amount("memory", free, MEMORY_GB, "close other programs, and shut down kernels that you left open")


def port(wanted: int = PORT) -> Check:
    """Is the port free that JupyterLab will listen on?"""
    if is_free(wanted):
        return Check("ok", f"port {wanted} is free")
    return Check("warn", f"port {wanted} is taken", f"make live takes {free_port(wanted)}; is another JupyterLab open?")


def is_free(number: int) -> bool:
    """Say whether nothing listens on this port of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if os.name != "nt":  # on Windows this option would let two programs share the port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except OSError:
            return False
    return True


def free_port(wanted: int) -> int:
    """Return the first free port from ``wanted`` on.

    Raises:
        CourseError: fifty in a row are taken.
    """
    for number in range(wanted, wanted + 50):
        if is_free(number):
            return number
    raise CourseError(f"Ports {wanted} to {wanted + 49} are all taken; close other servers or choose with --port.")


def network() -> Check:
    """Is there a way out? Asked of the routing table: nothing is sent, and nothing of the live path needs it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for examples, which belongs to nobody
            out = not probe.getsockname()[0].startswith("127.")
        except OSError:
            out = False
    state = "there" if out else "off"
    return Check("ok", f"network: {state}; the live path does not need one (data and weights are here, see below)")


def weights() -> Check:
    """Are the pretrained weights on this disk, and are they the right ones?"""
    from utils.features.encoders.image import lite0
    from utils.features.encoders.musicnn import load_musicnn
    from utils.features.encoders.text import minilm_folder

    try:
        for load in (lite0, minilm_folder, load_musicnn):
            load()
    except (CourseError, OSError) as error:
        return Check("FAIL", f"weights: {error}", "make env")
    return Check("ok", "weights: picture, text and sound encoders are here, SHA-256 as expected")


def dataset() -> Check:
    """Does the Sticker Shop load, with its prepared features?"""
    from utils.data import load_dataset
    from utils.features import load_features

    try:
        shop = load_dataset("sticker_shop")
        found = ", ".join(load_features(shop))
    except (CourseError, OSError) as error:
        return Check("FAIL", f"data: {error}", "restore data/sticker_shop from the repository")
    return Check("ok", f"data: {shop.n_items} items, {shop.n_interactions:,} interactions, features {found}")


def browser() -> Check:
    """Is there a browser to open?"""
    try:
        webbrowser.get()
    except webbrowser.Error:
        names = ("chromium", "chromium-browser", "google-chrome", "firefox", "msedge")
        found = next((name for name in names if shutil.which(name)), None)
        if found is None:
            return Check("warn", "no browser was found", "open the address that JupyterLab prints yourself")
        return Check("warn", f"{found} is here, but is not the system's browser", "open the address that JupyterLab prints yourself")  # fmt: skip
    return Check("ok", "a browser opens")


def rise() -> Check:
    """Is the slides extension where JupyterLab looks for it, and not switched off?"""
    from jupyter_core.paths import jupyter_path

    if not any(
        (Path(folder) / "jupyterlab-rise" / "package.json").exists() for folder in jupyter_path("labextensions")
    ):
        return Check("FAIL", "RISE (jupyterlab-rise) is not installed", "make env")
    return Check("ok", f"RISE {importlib.metadata.version('jupyterlab-rise')} for JupyterLab {importlib.metadata.version('jupyterlab')}")  # fmt: skip


def kernel() -> Check:
    """Does a notebook of one cell run in a kernel of its own?"""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("6 * 7")])
    try:
        quiet = ["--log-level=ERROR"]  # else the kernel warns about its local sockets
        NotebookClient(notebook, timeout=60, kernel_name="python3", extra_arguments=quiet).execute()
        answer = notebook.cells[0].outputs[0]["data"]["text/plain"]
    except Exception as error:  # noqa: BLE001 - whatever it is, the room is not ready
        reason = re.sub(r"\s+", " ", str(error))[:120] or type(error).__name__
        return Check("FAIL", f"no kernel starts: {reason}", "python -m ipykernel install --sys-prefix --name python3")
    return Check("ok", "a kernel starts and answers") if answer == "42" else Check("FAIL", f"the kernel says that 6 * 7 is {answer}", "restart the machine")  # fmt: skip


def checks(wanted_port: int = PORT) -> list[Callable[[], Check]]:
    """Return what is checked, in the order of the lines."""
    return [python, packages, disk, memory, lambda: port(wanted_port), network, weights, dataset, browser, rise, kernel]


def look(wanted_port: int = PORT) -> list[Check]:
    """Run all checks, print a line each, return them; a check that breaks is a line of its own, never a traceback."""
    found = []
    for check in checks(wanted_port):
        try:
            found.append(check())
        except Exception as error:  # noqa: BLE001 - a lecture should see every other line all the same
            found.append(Check("FAIL", f"{check.__name__}: {type(error).__name__}: {error}", "make env, then again"))
        print(found[-1], flush=True)
    return found
