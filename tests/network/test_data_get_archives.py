"""Archives from elsewhere: nothing outside the folder, no links, no bombs, all or nothing."""

import gzip
import io
import os
import random
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from utils.errors import CourseError
from utils.files import ROOT
from utils.network import archives
from utils.network.archives import check_gzip, check_zip, lines_of, unpack


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch):
    """A bomb of 2 MB is as good as one of 2 GB, and a long line of 128 KB."""
    monkeypatch.setattr(archives, "FREE", 1 << 20)
    monkeypatch.setattr(archives, "MAX_LINE", 1 << 16)


EVIL = ["../evil.txt", "a/../../evil.txt", "/evil.txt", "C:/evil.txt", "C:\\evil.txt", "..\\evil.txt", "~/evil.txt"]


def zipped(path, files, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, body in files:
            info = name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name)
            archive.writestr(info, body, compress_type=method)
    return path


def tarred(path, files, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, body in files:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return path


MAKERS = {"zip": zipped, "tar.gz": tarred}
both = pytest.mark.parametrize("kind", MAKERS)


def nothing_written(folder, archive):
    return [path.name for path in folder.iterdir()] == [archive.name]


@both
def test_a_good_archive_is_unpacked_and_an_older_folder_replaced(tmp_path, kind):
    archive = MAKERS[kind](tmp_path / f"good.{kind}", [("ml/u.data", b"1\t2"), ("ml/deep/README", b"terms")])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.txt").write_text("old", encoding="utf-8")
    files = unpack(archive, tmp_path / "out")
    assert [path.relative_to(tmp_path).as_posix() for path in files] == ["out/ml/deep/README", "out/ml/u.data"]
    assert files[1].read_bytes() == b"1\t2"


@both
@pytest.mark.parametrize("name", EVIL)
def test_a_name_that_leaves_the_folder(tmp_path, kind, name):
    archive = tmp_path / f"evil.{kind}"
    if kind == "zip":  # by hand, because zipfile turns some of these names into others while writing
        placeholder = "x" * len(name)
        MAKERS[kind](archive, [("good.txt", b"good"), (placeholder, b"evil")])
        archive.write_bytes(archive.read_bytes().replace(placeholder.encode(), name.encode()))
    else:
        MAKERS[kind](archive, [("good.txt", b"good"), (name, b"evil")])
    with pytest.raises(CourseError, match="nothing was unpacked"):
        unpack(archive, tmp_path / "out")
    assert nothing_written(tmp_path, archive) and not (tmp_path.parent / "evil.txt").exists()


@pytest.mark.parametrize("type_", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar(tmp_path, type_):
    link = tarfile.TarInfo("link")
    link.type, link.linkname = type_, "../../evil.txt"
    archive = tarred(tmp_path / "link.tar.gz", [(link, b"")])
    with pytest.raises(CourseError, match="'link' is a link or a device"):
        unpack(archive, tmp_path / "out")
    assert nothing_written(tmp_path, archive)


def test_a_link_in_a_zip(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    archive = zipped(tmp_path / "link.zip", [(link, b"/etc")])
    with pytest.raises(CourseError, match="link or a device"):
        unpack(archive, tmp_path / "out")
    assert nothing_written(tmp_path, archive)


@both
def test_one_name_twice_in_any_case(tmp_path, kind):
    archive = MAKERS[kind](tmp_path / f"twice.{kind}", [("A.txt", b"1"), ("a.TXT", b"2")])
    with pytest.raises(CourseError, match="occurs twice"):
        unpack(archive, tmp_path / "out")


@both
def test_a_bomb_is_not_unpacked(tmp_path, kind):
    archive = MAKERS[kind](tmp_path / f"bomb.{kind}", [("zeros", bytes(2 << 20))])
    assert archive.stat().st_size < 20_000
    with pytest.raises(CourseError, match="unpacks to more than 1 MB"):
        unpack(archive, tmp_path / "out")
    assert nothing_written(tmp_path, archive)


def test_a_zip_that_lies_about_its_size(tmp_path):
    archive = zipped(tmp_path / "lie.zip", [("zeros", bytes(2 << 20))])
    raw = archive.read_bytes()
    lie = raw.replace(struct.pack("<I", 2 << 20), struct.pack("<I", 1000))
    assert lie != raw
    archive.write_bytes(lie)
    with pytest.raises(CourseError, match="get it again|longer than"):
        unpack(archive, tmp_path / "out")
    with pytest.raises(CourseError):
        check_zip(archive)
    assert nothing_written(tmp_path, archive)


@both
def test_a_cut_archive(tmp_path, kind):
    archive = MAKERS[kind](tmp_path / f"cut.{kind}", [("a", bytes(range(256)) * 400), ("b", b"x" * 100)])
    archive.write_bytes(archive.read_bytes()[:-40])
    with pytest.raises(CourseError, match="get it again"):
        unpack(archive, tmp_path / "out")
    assert nothing_written(tmp_path, archive)


def with_an_older_folder(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.txt").write_text("old", encoding="utf-8")
    return tmp_path / "out"


def is_the_older_one(folder):
    return [(path.name, path.read_text(encoding="utf-8")) for path in folder.iterdir()] == [("old.txt", "old")]


@pytest.mark.parametrize("mode", ["w:bz2", "w:xz"])
def test_a_tar_in_another_packing_than_gzip_is_not_opened(tmp_path, mode, monkeypatch):
    import bz2
    import lzma

    archive = tarred(tmp_path / f"a.tar.{mode[2:]}", [("a.txt", b"1")], mode)
    for module, name in ((bz2, "BZ2Decompressor"), (lzma, "LZMADecompressor")):
        monkeypatch.setattr(module, name, lambda *_args, **_settings: pytest.fail("was unpacked without a counter"))
    with pytest.raises(CourseError, match="no whole zip, tar or tar.gz archive .*get it again"):
        unpack(archive, tmp_path / "out")
    assert nothing_written(tmp_path, archive)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_in_another_packing_than_deflate_is_refused(tmp_path, method):
    archive = zipped(tmp_path / "a.zip", [("a.txt", b"1" * 500)], method)
    for call in (lambda: unpack(archive, tmp_path / "out"), lambda: check_zip(archive)):
        with pytest.raises(CourseError, match=f"a.txt is packed by method {method}"):
            call()
    assert nothing_written(tmp_path, archive)


def test_of_an_archive_only_two_bytes_are_read_to_see_what_it_is(tmp_path, monkeypatch):
    archive = tarred(tmp_path / "a.tar", [("a.txt", b"1")], "w")
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("the whole archive was read into the memory"))
    assert len(unpack(archive, tmp_path / "out")) == 1


EMPTY = {
    "zeros": bytes(1 << 16),
    "nothing": b"",
    "tar": None,
    "folders": None,
    "zip": b"PK\x05\x06" + bytes(18),
}


@pytest.mark.parametrize("kind", EMPTY)
def test_an_archive_without_files_leaves_the_older_folder(tmp_path, kind):
    archive, folder = tmp_path / "empty", with_an_older_folder(tmp_path)
    directory = tarfile.TarInfo("a")
    directory.type = tarfile.DIRTYPE
    if EMPTY[kind] is None:
        tarred(archive, [(directory, b"")] if kind == "folders" else [])
    else:
        archive.write_bytes(EMPTY[kind])
    with pytest.raises(CourseError, match="holds no file|no whole zip, tar or tar.gz archive"):
        unpack(archive, folder)
    assert is_the_older_one(folder) and sorted(path.name for path in tmp_path.iterdir()) == ["empty", "out"]


@pytest.mark.parametrize("kind", ["zip", "stored zip", "tar", "tar.gz"])
def test_damage_of_any_kind_is_one_sentence(tmp_path, kind):
    files = [("a/ü.txt", b"hello" * 200), ("b.bin", bytes(range(256)) * 3), ("long/" + "n" * 150, b"x")]
    good = tmp_path / "good"
    if "zip" in kind:
        zipped(good, files, zipfile.ZIP_STORED if "stored" in kind else zipfile.ZIP_DEFLATED)
    else:
        tarred(good, files, "w" if kind == "tar" else "w:gz")
    body, draw, refused = good.read_bytes(), random.Random(1), 0
    for number in range(150):
        damaged = bytearray(body)
        for _ in range(draw.choice((1, 1, 3, 20))):
            damaged[draw.randrange(len(body))] = draw.randrange(256)
        good.write_bytes(damaged[: draw.randrange(len(body))] if number % 5 == 0 else damaged)
        for call in (lambda: unpack(good, tmp_path / "out"), lambda: check_zip(good)):
            try:
                call()
            except CourseError as error:
                refused += 1
                assert "free some space" not in str(error)
    assert refused > 150


def test_an_index_that_points_before_the_file_and_a_name_that_is_no_text(tmp_path):
    archive = zipped(tmp_path / "b.zip", [("ü.txt", b"1")])
    body = archive.read_bytes()
    place = body.rindex(b"PK\x05\x06") + 16
    for damaged in (
        body[:place] + struct.pack("<I", 0x7FFFFFFF) + body[place + 4 :],
        body.replace("ü".encode(), b"\xff\xff"),
    ):
        archive.write_bytes(damaged)
        for call in (lambda: unpack(archive, tmp_path / "out"), lambda: check_zip(archive)):
            with pytest.raises(CourseError, match="get it again"):
                call()


def test_killed_between_the_two_renames(tmp_path):
    """The older folder is on the disk the whole time, and the next call, good or bad, begins by putting it back."""
    folder, archive = with_an_older_folder(tmp_path), zipped(tmp_path / "a.zip", [("new.txt", b"new")])
    bad = tmp_path / "bad.zip"
    bad.write_bytes(b"nothing of use")
    code = (
        "import os, sys; from utils.network.archives import unpack; rename = os.rename\n"
        "def dying(source, target):\n"
        "    rename(source, target)\n"
        "    os._exit(9)\n"
        "os.rename = dying; unpack(sys.argv[1], sys.argv[2])"
    )
    assert subprocess.run([sys.executable, "-c", code, archive, folder], cwd=ROOT).returncode == 9
    assert is_the_older_one(tmp_path / ".out.old")
    with pytest.raises(CourseError):
        unpack(bad, folder)
    assert is_the_older_one(folder)
    assert [path.name for path in unpack(archive, folder)] == ["new.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "bad.zip", "out"]


def test_stopped_or_out_of_space_between_the_two_renames(tmp_path, monkeypatch):
    folder, archive = with_an_older_folder(tmp_path), zipped(tmp_path / "a.zip", [("new.txt", b"new")])
    rename = os.rename
    for error, raised in ((KeyboardInterrupt(), KeyboardInterrupt), (OSError(28, "No space left"), CourseError)):

        def failing(source, target, error=error):
            if Path(source).name == ".out.new":
                raise error
            rename(source, target)

        monkeypatch.setattr(os, "rename", failing)
        with pytest.raises(raised):
            unpack(archive, folder)
        assert is_the_older_one(folder) and sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "out"]


def test_a_file_in_the_place_of_the_folder_is_not_touched(tmp_path):
    archive = zipped(tmp_path / "a.zip", [("new.txt", b"new")])
    (tmp_path / "out").write_text("mine", encoding="utf-8")
    with pytest.raises(CourseError, match="Cannot unpack"):
        unpack(archive, tmp_path / "out")
    assert (tmp_path / "out").read_text(encoding="utf-8") == "mine"


def test_lines_of_a_gzip_file_and_its_faults(tmp_path):
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(b"one\r\ntwo\n\nlast"))
    assert list(lines_of(path)) == [(1, b"one"), (2, b"two"), (3, b""), (4, b"last")]
    assert check_gzip(path) == 14
    with pytest.raises(CourseError, match="There is no file"):
        list(lines_of(tmp_path / "none.gz"))
    path.write_bytes(gzip.compress(b"line\n" * 100_000)[:-100])
    with pytest.raises(CourseError, match="cut or damaged after line"):
        list(lines_of(path))
    path.write_bytes(gzip.compress(bytes(2 << 20)))
    with pytest.raises(CourseError, match="unpacks to more than"):
        list(lines_of(path))


def test_a_line_of_any_length_stays_small(tmp_path):
    path = tmp_path / "long.json"
    path.write_bytes(b"first\n" + b"x" * (2 * archives.MAX_LINE + 5) + b"\nlast\n")
    numbered = [(number, len(line)) for number, line in lines_of(path)]
    assert numbered == [(1, 5), (2, archives.MAX_LINE), (3, 4)]


def test_how_much_is_believed_can_be_less_for_what_is_held_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "FREE", 1 << 10)
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(b"u1\ti1\n" * 200_000))
    size = 6 * 200_000
    ratio = size // path.stat().st_size
    assert ratio > 100
    with archives.open_gzip(path, ratio + 1) as stream:
        assert len(stream.read()) == size
    with pytest.raises(CourseError, match="unpacks to more than"), archives.open_gzip(path, ratio // 2) as stream:
        stream.read()
