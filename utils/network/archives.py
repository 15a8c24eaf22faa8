"""Read and unpack gzip, zip and tar files of unknown origin safely: paths, sizes and checksums are checked.

Nothing is written outside the folder that is asked for, links are not followed, and a small file that unpacks to a
huge one (a decompression bomb) is refused while it is read, not after.
"""

from __future__ import annotations

import errno
import gzip
import io
import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from utils.errors import CourseError
from utils.files import atomic_path

MAX_RATIO = 200  # text of reviews shrinks about three to six times; deflate can pretend a thousand
FREE = 64 << 20  # below this many bytes nothing is a bomb
MAX_FILES = 10_000
MAX_LINE = 16 << 20
# What zipfile, tarfile and gzip raise for damaged files, as tried with thousands of them.
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile, RuntimeError, UnicodeDecodeError)  # fmt: skip
_DRIVE = re.compile(r"^[A-Za-z]:")


class _Counted(io.RawIOBase):
    """The unpacked bytes of a gzip file, counted; more than is believable is an error."""

    def __init__(self, path: Path, ratio: int) -> None:
        self.path, self.total = path, 0
        self.limit = max(FREE, ratio * path.stat().st_size)
        self.inner = gzip.open(path, "rb")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        block = self.inner.read(len(buffer))
        buffer[: len(block)] = block
        self.total += len(block)
        if self.total > self.limit:
            raise _bomb(self.path, self.limit)
        return len(block)

    def close(self) -> None:
        self.inner.close()
        super().close()


def open_gzip(path: str | Path, ratio: int = MAX_RATIO) -> io.BufferedReader:
    """Open a gzip file for reading bytes; reading raises CourseError when it unpacks to a believable size no more.

    Args:
        ratio: how many times its own size is believed, beyond the size that always is.
    """
    return io.BufferedReader(_Counted(Path(path), ratio), buffer_size=1 << 18)


def lines_of(path: str | Path) -> Iterator[tuple[int, bytes]]:
    """Yield (line number from 1, line without its end) of a text file, ``.gz`` unpacked on the way.

    A line longer than 16 MiB is given cut to its first bytes, so that memory stays small whatever the file holds.

    Raises:
        CourseError: no such file, a damaged or cut gzip file (with the line), a decompression bomb.
    """
    path = Path(path)
    number = 0
    try:
        with open_gzip(path) if path.suffix == ".gz" else open(path, "rb", buffering=1 << 18) as stream:
            for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE), b""), 1):
                if not line.endswith(b"\n") and len(line) == MAX_LINE:
                    while (rest := stream.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                        pass
                yield number, line.rstrip(b"\r\n")
    except FileNotFoundError:
        raise CourseError(f"There is no file {path}; correct the path.") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CourseError(f"{path} is cut or damaged after line {number:,} ({error}); get it again.") from error


def check_gzip(path: str | Path) -> int:
    """Read a gzip file to its end (its CRC included) and return its unpacked length in bytes.

    Raises:
        CourseError: not gzip, cut, damaged, or a bomb.
    """
    path, total = Path(path), 0
    try:
        with open_gzip(path) as stream:
            while block := stream.read(1 << 20):
                total += len(block)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CourseError(f"{_plain(path)} is not a whole gzip file ({error}); get it again.") from error
    return total


def check_zip(path: str | Path) -> int:
    """Read every file in a zip archive (their CRCs included) and return their unpacked length in bytes.

    Raises:
        CourseError: not zip, cut, damaged, or a bomb.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            _check_methods(path, archive)
            _check_sizes(path, [(info.filename, info.file_size) for info in archive.infolist()])
            bad = archive.testzip()
            if bad:
                raise CourseError(f"{_plain(path)} is damaged in {bad}; get it again.")
            return sum(info.file_size for info in archive.infolist())
    except (*_DAMAGE, OSError) as error:
        raise CourseError(f"{_plain(path)} is not a whole zip archive ({error}); get it again.") from error


def unpack(archive: str | Path, folder: str | Path) -> list[Path]:
    """Unpack a zip, tar or tar.gz archive into a new folder; all of it or nothing.

    Args:
        archive: what it is shows in its bytes, not in its name.
        folder: made by this call; an older one of the same name is replaced at the end. A call that is killed leaves
            the old or the new one, at worst the old one as ``.NAME.old``, which the next call puts back.

    Returns:
        The files, sorted.

    Raises:
        CourseError: another kind of archive, a name that leaves the folder, a link or device, two names for one file,
            too many or too large files, no file at all, damage. Nothing of it stays on the disk.
    """
    archive, folder = Path(archive), Path(folder)
    new, old = (folder.with_name(f".{folder.name}.{word}") for word in ("new", "old"))
    try:
        _put_back(old, folder)
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)
        new.mkdir(parents=True)
        members = _zip_members if zipfile.is_zipfile(archive) else _tar_members
        with members(archive) as (listed, read):
            if not listed:
                raise CourseError(f"{archive} holds no file; get it again.")
            _check_names(archive, [name for name, _ in listed])
            _check_sizes(archive, listed)
            for name, size in listed:
                _copy(archive, name, size, read, new)
        if folder.is_dir():
            os.rename(folder, old)
        os.rename(new, folder)
        shutil.rmtree(old, ignore_errors=True)
    except (*_DAMAGE, OSError) as error:
        # EINVAL comes of reading at a place before the beginning of the file, which a damaged index names.
        if isinstance(error, _DAMAGE) or error.errno == errno.EINVAL:
            raise CourseError(f"{archive} is no whole zip, tar or tar.gz archive ({error}); get it again.") from error
        reason = error.strerror or error
        raise CourseError(f"Cannot unpack {archive} to {folder}: {reason}; free some space and run again.") from error
    finally:
        _put_back(old, folder)
        shutil.rmtree(new, ignore_errors=True)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _put_back(old: Path, folder: Path) -> None:
    """Give the older folder its name again when a call ended between the two renames."""
    if old.is_dir() and not folder.exists():
        os.rename(old, folder)


class _zip_members:
    """Context: ([(name, size) of the files], function name -> stream) of a zip archive."""

    def __init__(self, path: Path) -> None:
        self.path, self.archive = path, zipfile.ZipFile(path)
        _check_methods(path, self.archive)

    def __enter__(self) -> tuple[list[tuple[str, int]], Callable[[str], IO[bytes]]]:
        files = []
        for info in self.archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _unsafe(self.path, info.filename, "is a link or a device")
            if info.filename.endswith("/"):
                _check_names(self.path, [info.filename.rstrip("/")])
            else:
                files.append((info.filename, info.file_size))
        return files, self.archive.open

    def __exit__(self, *_: object) -> None:
        self.archive.close()


class _tar_members:
    """Context: the same of a tar archive, plain or in gzip."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with open(path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        # The whole stream is read once through the counter, so that a bomb shows before anything is unpacked.
        if packed:
            check_gzip(path)
        self.archive = tarfile.open(path, "r:gz" if packed else "r:")

    def __enter__(self) -> tuple[list[tuple[str, int]], Callable[[str], IO[bytes]]]:
        files = []
        for info in self.archive:
            if info.isdir():
                _check_names(self.path, [info.name])
            elif not info.isreg():
                raise _unsafe(self.path, info.name, "is a link or a device")
            else:
                files.append((info.name, info.size))
        return files, self.archive.extractfile

    def __exit__(self, *_: object) -> None:
        self.archive.close()


def _check_methods(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse the rare ways of packing, which no course file uses and whose damage shows in many ways."""
    for info in archive.infolist():
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise CourseError(
                f"{_plain(path)}: {info.filename} is packed by method {info.compress_type}, and only plain zip files are "
                "read: pack it anew."
            )


def _check_names(archive: Path, names: list[str]) -> None:
    """Refuse every name that is not a plain relative path, on any system."""
    seen: set[str] = set()
    for name in names:
        parts = name.split("/")
        if not name or "\0" in name or "\\" in name or name.startswith(("/", "~")) or _DRIVE.match(name):
            raise _unsafe(archive, name, "is no plain relative path")
        if ".." in parts or any(part.rstrip(" .") != part or not part for part in parts if part != "."):
            raise _unsafe(archive, name, "leaves the folder")
        if name.lower() in seen:
            raise _unsafe(archive, name, "occurs twice")
        seen.add(name.lower())


def _check_sizes(archive: Path, listed: list[tuple[str, int]]) -> None:
    limit = max(FREE, MAX_RATIO * archive.stat().st_size)
    if len(listed) > MAX_FILES:
        raise CourseError(f"{_plain(archive)} holds {len(listed):,} files, at most {MAX_FILES:,} are unpacked.")
    if sum(size for _, size in listed) > limit:
        raise _bomb(archive, limit)


def _copy(archive: Path, name: str, size: int, read: Callable[[str], IO[bytes]], folder: Path) -> None:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise _unsafe(archive, name, "leaves the folder")
    written = 0
    with read(name) as source, atomic_path(path) as temporary, open(temporary, "wb") as target:
        while block := source.read(1 << 20):
            written += len(block)
            if written > size:
                raise CourseError(f"{archive}: {name} is longer than the archive states; get it again.")
            target.write(block)


def _plain(path: Path) -> Path:
    """The name that the reader knows: without the ending of a download that is under way."""
    return path.with_suffix("") if path.suffix == ".part" else path


def _bomb(path: Path, limit: int) -> CourseError:
    return CourseError(
        f"{_plain(path)} unpacks to more than {limit / 1e6:,.0f} MB, which no honest file of its size does; it is not "
        "read: delete it and look at the publisher's page."
    )


def _unsafe(archive: Path, name: str, why: str) -> CourseError:
    return CourseError(f"{archive}: the name {name!r} {why}; nothing was unpacked: get the archive from its publisher.")
