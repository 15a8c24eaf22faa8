"""Small files in the three formats of the Amazon reviews, made up, with the oddities of the real ones."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

from PIL import Image


def packed(path: Path, lines: list[str]) -> Path:
    """Write lines to a gzip file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass"), mtime=0))
    return path


def review(edition: str, user: str, item: str, rating: float = 5.0, day: int = 0, text: str = "Good.", **more) -> str:
    """One review line; ``day`` counts from a fixed one."""
    second = 1_400_000_000 + 86_400 * day
    if edition == "2023":
        row = {"rating": rating, "title": "A title", "text": text, "images": [], "asin": f"{item}V", "parent_asin": item,
               "user_id": user, "timestamp": second * 1000 + 123, "helpful_vote": 0, "verified_purchase": True}  # fmt: skip
    else:
        row = {"reviewerID": user, "asin": item, "reviewerName": "N", "helpful": [0, 0], "reviewText": text,
               "overall": rating, "summary": "S", "unixReviewTime": second, "reviewTime": "01 1, 2014"}  # fmt: skip
    return json.dumps({**row, **more})


def product(edition: str, item: str, description: str = "A thing.", url: str = "", **more) -> str:
    """One product line: a Python literal in 2014, JSON later."""
    if edition == "2014":
        row = {"asin": item, "description": description, "title": f"Title of {item}", "imUrl": url, "brand": "B",
               "categories": [["Office Products", "Pens"]], "related": {"also_bought": ["I1", "I2"]}}  # fmt: skip
        return repr({**row, **more})
    if edition == "2018":
        row = {"category": ["Office Products", "Pens", "Ink"], "description": [description], "title": f"Title of {item}",
               "brand": "B", "asin": item, "imageURL": [f"{url}?small"] if url else [],
               "imageURLHighRes": [url] if url else []}  # fmt: skip
    else:
        images = [{"thumb": f"{url}?thumb", "large": f"{url}?other", "variant": "PT01", "hi_res": None},
                  {"thumb": f"{url}?thumb", "large": url, "variant": "MAIN", "hi_res": f"{url}?hi"}]  # fmt: skip
        row = {"main_category": "Office Products", "title": f"Title of {item}", "features": ["f"],
               "description": [description], "images": images if url else [], "store": "B",
               "categories": ["Office Products", "Pens"], "details": {}, "parent_asin": item}  # fmt: skip
    return json.dumps({**row, **more})


NAMES = {
    "2014": ("reviews_Office_Products_5.json.gz", "meta_Office_Products.json.gz", "amazon-2014-office"),
    "2018": ("Office_Products_5.json.gz", "meta_Office_Products.json.gz", "amazon-2018-office-products"),
    "2023": ("Office_Products.jsonl.gz", "meta_Office_Products.jsonl.gz", "amazon-2023-office-products"),
}


def block(edition: str, n_users: int = 8, n_items: int = 6) -> list[str]:
    """Everybody reviews everything, on different days."""
    return [
        review(
            edition, f"U{u}", f"I{i}", 1 + (u + i) % 5, u * n_items + i, f"User {u} on item {i}, in a long sentence."
        )
        for u in range(n_users)
        for i in range(n_items)
    ]


def write_category(folder: Path, edition: str, reviews: list[str], products: list[str]) -> str:
    """Write both files as the publisher names them; return the name in the catalogue."""
    review_file, product_file, name = NAMES[edition]
    packed(folder / review_file, reviews)
    packed(folder / product_file, products)
    return name


def picture(colour: tuple[int, int, int] = (200, 30, 30), size: int = 32, kind: str = "JPEG") -> bytes:
    """The bytes of a small picture."""
    memory = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(memory, kind)
    return memory.getvalue()
