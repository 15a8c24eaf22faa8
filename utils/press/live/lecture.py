"""`make live`: check the machine, fill the caches, write the live copies, open JupyterLab. Also plan, measure, mark, check."""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Sequence

from utils.errors import CourseError
from utils.files import ROOT, write_json
from utils.press.live import plan, room

SETTINGS = ROOT / "build" / "live" / "settings"
# nothing pops up over a lecture, and nothing is asked of another machine
QUIET = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    }
}


def server_command(port: int, opens: bool) -> list[str]:
    """Return the command that starts JupyterLab on this machine only, in the course's folder; JUPYTER_TOKEN opens it."""
    root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # in a container
    return [
        sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={ROOT}", "--ip=127.0.0.1", f"--port={port}",
        "--ServerApp.port_retries=0", "--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        f"--LabApp.app_settings_dir={SETTINGS}",
        "--LabApp.default_url=/lab/tree/build/live/00_start_here.ipynb", *([] if opens else ["--no-browser"]), *root,
    ]  # fmt: skip


def prepare() -> None:
    """Fill the caches and write what the lecture opens: saved copies of all notebooks (FAST), live copies, the plan.

    Raises:
        CourseError: a notebook fails here, so that it would fail in the room.
    """
    from utils.press import run as runner
    from utils.press.live import copies

    only = ",".join(path.stem[:2] for path in plan.notebooks())
    print("Saved copies and caches: each notebook runs once in FAST mode, unless its copy is up to date.", flush=True)
    if runner.run(only, fast=True, dataset="sticker_shop", force=False, extra={}):
        raise CourseError(
            "A notebook fails on this machine (its line is above); mend that first, or use another machine."
        )
    copies.write_copies()
    print(f"Live copies and the plan: {copies.write_plan().relative_to(ROOT)}", flush=True)


def serve(port: int, opens: bool) -> int:
    """Start JupyterLab, write the plan with links into it, open both; return when the server ends."""
    from utils.press.live import copies

    write_json(SETTINGS / "overrides.json", QUIET)
    token = secrets.token_hex(16)
    address = f"http://127.0.0.1:{port}/"
    sheet = copies.write_plan(server=f"{address}?token={token}")
    sheet.chmod(0o600)  # the token is in its links
    # by the environment: everybody on a machine can read the words of a command
    process = subprocess.Popen(server_command(port, opens), cwd=ROOT, env={**os.environ, "JUPYTER_TOKEN": token})
    if opens:
        threading.Thread(
            target=lambda: wait_for(address, token) and webbrowser.open(sheet.as_uri()), daemon=True
        ).start()
    print(f"JupyterLab: {address}lab?token={token}\nThe plan, with links to the slides: {sheet}", flush=True)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.terminate()
        return process.wait()


def wait_for(address: str, token: str, seconds: float = 60.0) -> bool:
    """Wait until the server answers; say whether it did."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"{address}api/status?token={token}", timeout=2) as answer:  # noqa: S310 - our own http address
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    return False


def mark() -> None:
    """Hide from the slides every cell that says nothing about them, and give each notebook the look of the slides."""
    import nbformat

    for path in plan.notebooks():
        notebook, changed = nbformat.read(path, as_version=4), 0
        for cell in notebook.cells:
            if plan.slide_type(cell) not in plan.SHOWN + plan.HIDDEN:
                cell.metadata["slideshow"] = {"slide_type": "skip"}
                changed += 1
        if changed or notebook.metadata.get("rise") != plan.RISE:
            notebook.metadata["rise"] = dict(plan.RISE)
            nbformat.write(notebook, path)
            print(f"{path.stem}: {changed} cells hidden from the slides")


def live(options: argparse.Namespace) -> int:
    """Check the machine; fail with a sentence, or get everything ready."""
    found = room.look(options.port)
    bad = [check for check in found if check.status == "FAIL"]
    if bad:
        many = f"{len(bad)} things are" if len(bad) > 1 else "One thing is"
        print(
            f"The room is not ready: {many} marked [FAIL] above; the words after the arrow say what to do.",
            file=sys.stderr,
        )
        return 1
    print("The room is ready.", flush=True)
    if options.check_only:
        return 0
    if not options.skip_caches:
        prepare()
    else:
        from utils.press.live import copies

        copies.write_copies()
    if options.no_server:
        return 0
    return serve(room.free_port(options.port), not options.no_open)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of `make live`."""
    parser = argparse.ArgumentParser(prog="python -m utils.press live", description=__doc__)
    parser.add_argument("what", nargs="?", default="live", choices=("live", "plan", "measure", "mark"))
    parser.add_argument("--only", default="", help="notebooks to measure, for example 03 or 00,05")
    parser.add_argument("--port", type=int, default=room.PORT)
    parser.add_argument("--check-only", action="store_true", help="look at the room, start nothing")
    parser.add_argument(
        "--no-server", action="store_true", help="fill caches and write the copies, start no JupyterLab"
    )
    parser.add_argument("--no-open", action="store_true", help="start JupyterLab without a browser")
    parser.add_argument("--skip-caches", action="store_true", help="do not run the notebooks before")
    options = parser.parse_args(arguments)
    try:
        if options.what == "plan":
            print("\n".join(plan.lines()))
        elif options.what == "measure":
            from utils.press.live.measure import measure

            measure([part for part in options.only.split(",") if part])
        elif options.what == "mark":
            mark()
        else:
            return live(options)
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
