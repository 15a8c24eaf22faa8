"""Archives from elsewhere: nothing outside the folder, no links, no bombs, all or nothing."""

import gzip
import io
import struct
import tarfile
import zipfile

import pytest

from utils import archives
from utils.archives import check_gzip, check_zip, lines_of, unpack
from utils.errors import CourseError


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch):
    """A bomb of 2 MB is as good as one of 2 GB, and a long line of 128 KB."""
    monkeypatch.setattr(archives, "FREE", 1 << 20)
    monkeypatch.setattr(archives, "MAX_LINE", 1 << 16)


EVIL = ["../evil.txt", "a/../../evil.txt", "/evil.txt", "C:/evil.txt", "C:\\evil.txt", "..\\evil.txt", "~/evil.txt"]


def zipped(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in files:
            info = name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name)
            archive.writestr(info, body, compress_type=zipfile.ZIP_DEFLATED)
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
