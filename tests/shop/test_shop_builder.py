"""The builder on a small package made on the spot: what it reads, leaves out and refuses."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from utils.errors import CourseError
from utils.shop.content import STAMPS, Stamp, build_content, make_picture, near_duplicates, read_stamps
from utils.shop.oggfile import encode_vorbis


def png(colour, size=(300, 200)):
    picture = Image.new("RGBA", size, (0, 0, 0, 0))
    picture.paste(colour, (50, 20, 250, 180))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def ogg(silent=False):
    return encode_vorbis(np.zeros(4000, np.float32) if silent else np.sin(np.arange(4000) / 5).astype(np.float32), 8000)


FILES = {
    "animals/birds/owl.png": png("red"),
    "animals/birds/owl.txt": "An owl.\nit.utf8=Un gufo.\n".encode(),  # noqa: UP012  (as the package has it: UTF-8)
    "animals/birds/owl.ogg": ogg(),
    "animals/birds/owl_desc.ogg": ogg(),
    "animals/birds/crow.png": png("black"),
    "animals/birds/crow.txt": b"A crow.\n",
    "animals/birds/crow.ogg": ogg(silent=True),
    "animals/birds/crow_mirror.png": png("black"),
    "animals/birds/swan.svg": b"<svg/>",
    "animals/birds/swan.txt": b"A swan.\n",
    "symbols/math/plus.png": png("blue"),
    "symbols/math/plus.txt": b"Plus.\n",
    "town/flags/it.png": png("green"),
    "town/flags/it.txt": b"A flag.\n",
}


def tar_block():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as archive:
        members = [(f"./{STAMPS}{name}", data) for name, data in FILES.items()]
        for name, data in [*members, (f"./{STAMPS}../../../../evil.png", png("red")), ("/evil.txt", b"evil")]:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo(f"./{STAMPS}animals/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    data, path = b"!<arch>\n", tmp_path_factory.mktemp("deb") / "stamps.deb"
    for name, block in (("debian-binary", b"2.0\n"), ("data.tar.xz", tar_block())):
        data += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(block):<10}`\n".encode() + block + b"\n" * (len(block) % 2)
        )
    path.write_bytes(data)
    return path


def test_it_reads_pictures_texts_and_sound_effects_and_nothing_else(package):
    stamps = {stamp.path: stamp for stamp in read_stamps(package)[0]}
    assert sorted(stamps) == [f"animals/birds/{name}.png" for name in ("crow", "crow_mirror", "owl")]
    assert stamps["animals/birds/owl.png"].texts == {"en": "An owl.", "it": "Un gufo."}
    assert stamps["animals/birds/owl.png"].sound and not stamps["animals/birds/crow_mirror.png"].texts


def test_content_is_the_same_twice_and_silence_is_no_sound(package, tmp_path):
    contents = [build_content(package, tmp_path / name)[0] for name in ("one", "two")]
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / n).rglob("*.*")} for n in ("one", "two"))
    assert one == two and len(one) == 4
    assert contents[0].items.equals(contents[1].items) and len(contents[0].items) == 2
    assert sorted(samples is None for samples in contents[0].sounds) == [False, True]
    assert [stamp.path for stamp, _ in contents[0].mirrors] == ["animals/birds/crow_mirror.png"]


def test_pictures_are_cropped_on_white_and_small():
    data, mask = make_picture(png("red"))
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.size == (160, 128) and picture.getpixel((80, 64))[0] > 200
    assert mask.shape == (128, 160) and mask.all()


def test_a_file_that_is_no_package_is_refused(tmp_path):
    (tmp_path / "x.deb").write_bytes(b"hello")
    with pytest.raises(CourseError, match="not a Debian package"):
        read_stamps(tmp_path / "x.deb")
    with pytest.raises(CourseError, match="holds no stamps"):
        read_stamps(tmp_path)


def test_repeats_need_the_same_text_and_nearly_the_same_picture():
    generator = np.random.default_rng(0)
    picture, other = generator.random((2, 16, 16)).astype(np.float32)
    pictures = [picture, picture[:, ::-1], other, picture]
    assert near_duplicates(pictures, ["a", "a", "a", "b"]).tolist() == [1]


def test_titles_come_from_file_names():
    assert Stamp("town/uk_post_box2.png", b"").title == "Uk post box"
    assert Stamp("vehicles/cementMixer.png", b"").title == "Cement mixer"
