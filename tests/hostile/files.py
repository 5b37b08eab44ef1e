"""Files of responses, tasks and settings that try to break their readers: what each must do."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROW = {"id": "p", "prompt": "Name a fruit.", "responses": ["apple", "pear"]}
LINE = json.dumps(ROW)

ACCEPTED, REFUSED = "accepted", "refused"


def _gzip(content: bytes) -> bytes:
    return gzip.compress(content, 9)


def _zip(name: str, content: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(name, content)
    return sink.getvalue()


def _table(table: pa.Table, **options: object) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def _many_rows() -> bytes:
    """A table of 4,000,000 rows of one text, in some kilobytes."""
    columns = {
        name: pa.DictionaryArray.from_arrays(np.zeros(4_000_000, np.int8), ["x"])
        for name in ("prompt", "response")
    }
    return _table(pa.table(columns), compression="zstd")


def _deep_table() -> bytes:
    value: object = "x"
    for _ in range(150):
        value = [value]
    return _table(pa.Table.from_pylist([{"prompt": "p", "responses": value}]))


def _one_text() -> bytes:
    """20 rows of one text of 3 MB, which stands in the file once."""
    texts = pa.DictionaryArray.from_arrays(np.zeros(20, np.int8), ["long " * 600_000])
    table = pa.table({"prompt": ["p"] * 20, "response": texts})
    return _table(table, dictionary_pagesize_limit=1 << 30, compression="zstd")


def _overlapping_zip() -> bytes:
    """Many names of one entry, as zip bombs have them."""
    content = _zip("header.json", b" " * 1_000_000)
    start = content.index(b"PK\1\2")
    end = content.index(b"PK\5\6")
    entry = content[start:end]
    names = [entry.replace(b"header.json", f"sample{i:05d}".encode()[:11]) for i in range(9000)]
    directory = b"".join([entry, *names])
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 9001, 9001, len(directory), start, 0)
    return content[:start] + directory + tail


def _with(**fields: object) -> bytes:
    return json.dumps({**ROW, **fields}).encode()


RESPONSES: dict[str, tuple[str, bytes, str]] = {
    "deep list": ("x.jsonl", b"[" * 200_000, REFUSED),
    "deep object": ("x.jsonl", b'{"a":' * 200_000, REFUSED),
    "deep json": ("x.json", b"[" * 200_000, REFUSED),
    "deep response": ("x.jsonl", b'{"prompt":"p","responses":' + b"[" * 100_000, REFUSED),
    "nan": ("x.jsonl", b"NaN", REFUSED),
    "a number": ("x.jsonl", b"1", REFUSED),
    "a text": ("x.jsonl", b'"x"', REFUSED),
    "null": ("x.jsonl", b"null", REFUSED),
    "huge number": ("x.jsonl", b"1" * 100_000, REFUSED),
    "infinite": (
        "x.jsonl",
        _with(logprob=1).replace(b'"logprob": 1', b'"logprob": 1e999'),
        REFUSED,
    ),
    "empty": ("x.jsonl", b"", REFUSED),
    "blank": ("x.jsonl", b"\n\n \n", REFUSED),
    "nuls": ("x.jsonl", b"\0" * 10_000, REFUSED),
    "random bytes": ("x.jsonl", bytes(range(256)) * 40, REFUSED),
    "utf-16": ("x.jsonl", LINE.encode("utf-16"), REFUSED),
    "latin-1": ("x.jsonl", LINE.replace("apple", "äpple").encode("latin-1"), REFUSED),
    "byte order mark": ("x.jsonl", b"\xef\xbb\xbf" + LINE.encode(), ACCEPTED),
    "half a line": ("x.jsonl", LINE.encode()[:-9], REFUSED),
    "half a surrogate": ("x.jsonl", _with().replace(b"apple", b"\\ud800"), ACCEPTED),
    "key twice": ("x.jsonl", LINE.encode().replace(b'"id"', b'"prompt": "q", "id"'), REFUSED),
    "proto": ("x.jsonl", _with(__proto__={"owned": 1}), ACCEPTED),
    "text for list": ("x.jsonl", _with(responses={"a": 1}), REFUSED),
    "numbers for texts": ("x.jsonl", _with(responses=[1, 2]), REFUSED),
    "nested texts": ("x.jsonl", _with(responses=[["a"], [["b"]]]), REFUSED),
    "id a list": ("x.jsonl", _with(id=["a"]), REFUSED),
    "id too long": ("x.jsonl", _with(id="x" * 3_000_000), REFUSED),
    "model a path": ("x.jsonl", _with(model="../../x"), ACCEPTED),
    "model absolute": ("x.jsonl", _with(model="/etc/passwd"), ACCEPTED),
    "model a device": ("x.jsonl", _with(model="con"), REFUSED),
    "model with a nul": ("x.jsonl", _with(model="a\0b"), ACCEPTED),
    "model an escape": ("x.jsonl", _with(model="\x1b[2J"), ACCEPTED),
    "model too long": ("x.jsonl", _with(model="m" * 1_000_000), REFUSED),
    "prompt a number": ("x.jsonl", _with(prompt=7), REFUSED),
    "references a number": ("x.jsonl", _with(references=7), REFUSED),
    "no gzip": ("x.jsonl.gz", LINE.encode(), ACCEPTED),
    "half a gzip": ("x.jsonl.gz", _gzip(LINE.encode())[:-6], REFUSED),
    "gzip of nothing": ("x.jsonl.gz", _gzip(b""), REFUSED),
    "gzip bomb": ("x.jsonl.gz", _gzip(b"\0" * 200_000_000), REFUSED),
    "gzip in gzip": ("x.jsonl.gz", _gzip(_gzip(LINE.encode())), REFUSED),
    "no zstd": ("x.jsonl.zst", b"\x28\xb5\x2f\xfd" + b"\xff" * 99, REFUSED),
    "no xz": ("x.jsonl.xz", b"\xfd7zXZ\0" + b"\xff" * 99, REFUSED),
    "no bz2": ("x.jsonl.bz2", b"BZh9" + b"\xff" * 99, REFUSED),
    "zip out of its folder": ("x.zip", _zip("../../evil.jsonl", LINE.encode()), REFUSED),
    "zip bomb": ("x.eval", _zip("header.json", b" " * 200_000_000), REFUSED),
    "no zip": ("x.eval", b"PK\3\4" + b"\xff" * 99, REFUSED),
    "no parquet": ("x.parquet", b"PAR1" + b"\xff" * 99 + b"PAR1", REFUSED),
    "parquet of nothing": ("x.parquet", b"", REFUSED),
    "parquet footer": ("x.parquet", b"PAR1\xff\xff\xff\x7fPAR1", REFUSED),
    "no arrow": ("x.arrow", b"ARROW1\0\0" + b"\xff" * 99, REFUSED),
    "parquet of millions of one row": ("x.parquet", _many_rows(), REFUSED),
    "parquet that is deep": ("x.parquet", _deep_table(), REFUSED),
    "parquet of one long text": ("x.parquet", _one_text(), ACCEPTED),
    "parquet in a gzip bomb": ("x.parquet.gz", _gzip(b"PAR1" + b"\0" * 100_000_000), REFUSED),
    "zip of entries on each other": ("x.eval", _overlapping_zip(), REFUSED),
    "csv of quotes": ("x.csv", b'"' * 100_001, REFUSED),
    "csv of commas": ("x.csv", b"," * 100_000 + b"\n", REFUSED),
    "csv without rows": ("x.csv", b"prompt,response\n", REFUSED),
    "csv with a long row": ("x.csv", b"prompt,response\na,b,c,d\n", REFUSED),
    "csv of nuls": ("x.csv", b"prompt,response\n\0,\0\n", ACCEPTED),
}
"""By name: the file's name, its content, and what `score` must do with it. A model's name in a file
is brought to one that can be a folder's; what is packed is told by its content, not by its name."""

TASK = (
    "name: {name}\nversion: 1\nlicence: MIT\nsource: here\ncitation: none\nformat: sft\n"
    "sampling: {{samples: 2, max_tokens: 8}}\nprompts: {prompts}\n"
)


def _task(name: object = "t", prompts: str = "[Name a fruit.]", more: str = "") -> str:
    return TASK.format(name=name, prompts=prompts) + more


LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(8)
)

TASKS: dict[str, str] = {
    "billion laughs": LAUGHS + _task(),
    "laughing prompts": LAUGHS + _task(prompts="*i"),
    "alias of itself": "name: &a [*a]\n",
    "recursive prompts": _task(prompts="&p [*p]"),
    "python object": _task(more="x: !!python/object/apply:os.system ['touch CANARY']\n"),
    "python name": _task(name="!!python/name:os.system"),
    "python tuple": _task(prompts="!!python/tuple [a]"),
    "binary": _task(prompts="[!!binary gIGC]"),
    "own tag": _task(prompts="!evil [a]"),
    "deep": "a: " + "[" * 5000,
    "deep keys": "{a: " * 3000,
    "name a path": _task(name="../x"),
    "name a device": _task(name="nul"),
    "name a list": _task(name="[a]"),
    "name too long": _task(name="x" * 100_000),
    "samples none": _task(more="x: 1\n").replace("samples: 2", "samples: 0"),
    "samples huge": _task().replace("samples: 2", "samples: 1e99"),
    "samples a text": _task().replace("samples: 2", "samples: many"),
    "tokens below 0": _task().replace("max_tokens: 8", "max_tokens: -1"),
    "temperature nan": _task().replace("samples: 2", "temperature: .nan"),
    "temperature inf": _task().replace("samples: 2", "temperature: .inf"),
    "version a float": _task().replace("version: 1", "version: 1.5"),
    "version huge": _task().replace("version: 1", f"version: {'9' * 5000}"),
    "no prompts": _task(prompts="[]"),
    "prompts a text": _task(prompts="Name a fruit."),
    "prompts null": _task(prompts="[null]"),
    "prompt a number": _task(prompts="[7]"),
    "id twice": _task(prompts="[{id: a, text: x}, {id: a, text: y}]"),
    "id too long": _task(prompts="[{id: " + "x" * 10_000 + ", text: y}]"),
    "key twice": _task() + "name: u\n",
    "unknown key": _task(more="__class__: x\n"),
    "merge key": _task(more="<<: *nothing\n"),
    "two documents": _task() + "---\n" + _task(),
    "tabs": "name:\tt\n\tversion: 1\n",
    "nul": "name: \0\n",
    "escape": _task(name='"\\x1b[2J"'),
    "half a surrogate": _task(prompts='["\\ud800"]'),
    "no mapping": "[1, 2]",
    "nothing": "",
    "wording that computes": _task(more="wording: {instruct: '{{ prompt }}{{ 10**5000 }}'}\n"),
    "wording that loops": _task(
        more="wording: {instruct: \"{{ prompt }}{% for a in 'x' * 10**7 %}{% endfor %}\"}\n"
    ),
    "wording that reaches": _task(more="wording: {instruct: '{{ prompt.__class__ }}'}\n"),
    "wording that does not parse": _task(more="wording: {instruct: '{{ prompt'}\n"),
    "file outside": _task().replace("prompts:", "file: {path: /etc/passwd}\nx:"),
    "unknown scoring": _task(more="scoring: __import__('os')\n"),
    "sexagesimal": _task(name="12:30:45"),
}
"""Task files that must be refused, each with one line."""

CONFIGS: dict[str, str] = {
    "python object": "models: !!python/object/apply:os.system ['touch CANARY']\n",
    "laughs": LAUGHS,
    "alias of itself": "models: &a {x: *a}\n",
    "deep": "models: " + "{a: " * 3000,
    "models a list": "models: [a]\n",
    "models a text": "models: base\n",
    "model a number": "models: {a: 7}\n",
    "model named as a path": "models: {../x: y}\n",
    "model named as a device": "models: {con: y}\n",
    "samples below": "samples: -1\n",
    "samples yes": "samples: yes\n",
    "temperature nan": "temperature: .nan\n",
    "temperature text": "temperature: hot\n",
    "top-p": "top_p: 2\n",
    "seed huge": f"seed: {'9' * 5000}\n",
    "seed below": "seed: -1\n",
    "unknown": "__init__: 1\n",
    "key twice": "seed: 1\nseed: 2\n",
    "list": "[1]\n",
    "nothing": "",
    "nul": "seed: \0\n",
    "stop empty": "stop: ['']\n",
    "format a number": "format: 7\n",
    "workers": "workers: 0\n",
    "merge key": "<<: 7\n",
    "bytes": "models: {a: !!binary gIGC}\n",
}
"""Settings of a run that must be refused, each with one line."""
