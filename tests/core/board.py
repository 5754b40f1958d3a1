"""Run folders written by hand, and pages read as a browser would, for the tests of the leaderboard."""

import json
import struct
import zlib
from html.parser import HTMLParser

from cfbench.records import Cell, Record

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "</style><style>body{display:none}</style>",
    "<svg onload=alert(1)><a xlink:href='javascript:alert(1)'>x</a></svg>",
    "../../etc/passwd",
    "\N{RIGHT-TO-LEFT OVERRIDE}gnp.exe",
    "\0\x1b[31m\x07 bell",
    '=HYPERLINK("http://evil.example","x")',
    "javascript:alert(1)",
    "[x](javascript:alert(1))",
    "a|b\nc",
    "' onmouseover='alert(1)",
    '" autofocus onfocus=alert(1) x="',
    "{{ 7 * 7 }}{% include '/etc/passwd' %}",
    r"\input{/etc/passwd}$%&_#{~^\write18{id}",
    "\ud800 lone surrogate",
    "<script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">",
    "<!--",
    "]]>",
    "x" * 100_000,
)


def record(metric="auc", view="probe", value=0.8, *, seed=0, status="ok", reason="", **fields):
    cell = {"dataset": "vertebra", "task": "fracture", "generator": "dae", "attribution": "reflect"}
    cell = Cell(**cell | {k: fields.pop(k) for k in list(fields) if k in cell}, seed=seed)
    if status == "ok":
        low, high = value - 0.1, value + 0.1
        fields = {"value": value, "low": low, "high": high, "interval": "bootstrap", "n": 20, "patients": 10} | fields
    fields = {"suite": "vcf", "direction": "higher"} | fields
    return Record(cell=cell, metric=metric, view=view, status=status, reason=reason, **fields)


def png(width=4, height=4, *, text=b""):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + bytes([9 * i % 256] * width) for i in range(height))))
    return b"\x89PNG\r\n\x1a\n" + head + (chunk(b"tEXt", text) if text else b"") + pixels + chunk(b"IEND", b"")


def gallery_cell(images, *, public=True, dataset="vertebra", generator="dae", attribution="reflect", **item):
    item = {"id": "c1", "patient": "p1", "grade": 3, "target": 0, "status": "ok", "images": images} | item
    names = {"dataset": dataset, "task": "fracture", "generator": generator, "attribution": attribution, "seed": 0}
    return {**names, "public": public, "items": [item]}


def write_run(folder, records, about=None, cells=None, costs=None, figures=None):
    """Write a run folder and return it."""
    (folder / "gallery").mkdir(parents=True)
    (folder / "records.jsonl").write_text("".join(f"{r.to_json()}\n" for r in records), encoding="utf-8")
    found = {"run.json": about, "costs.json": costs}
    found["gallery/index.json"] = None if cells is None else {"cells": cells}
    for name, content in found.items():
        if content is not None:
            (folder / name).write_text(json.dumps(content), encoding="utf-8")
    if figures is not None:
        (folder / "figures").mkdir()
        (folder / "figures" / "index.json").write_text(json.dumps({"figures": figures}))
    return folder


class Page(HTMLParser):
    """Collects tags, attributes and text as a browser would see them."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], []
        self.source = path.read_text(encoding="utf-8")
        self._hidden = 0
        self.feed(self.source)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._hidden += tag in ("style", "script")
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        self._hidden -= tag in ("style", "script")

    def handle_data(self, data):
        if not self._hidden:
            self.words.append(data)

    def all(self, tag, name):
        return [value for t, n, value in self.attributes if (t, n) == (tag, name)]
