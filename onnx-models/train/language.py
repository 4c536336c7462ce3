"""Which language a text is in: logistic regression over hashed n-grams of its UTF-8 bytes, all of it in the graph.

The graph adds up one row of an int8 table for each n-gram. Sums of small whole numbers are exact in float32 in any
order, so the winning language is the same bit for bit on every processor.
"""

import ast
import re
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from onnx import numpy_helper
from scipy.sparse import csr_matrix

import net
from built import Built, port
from graph import FLOAT, INT64, UINT8, Graph
from runtime import tensor

# ISO 639-1 code -> folders of Django's translations
LANGUAGES = {code: [code] for code in "ar bg ca cs da de el es et fa fi fr he hi hu id it ja ko lt lv".split()}
LANGUAGES |= {"en": [], "nl": ["nl"], "no": ["nb"], "pl": ["pl"], "pt": ["pt", "pt_BR"], "ro": ["ro"], "ru": ["ru"]}
LANGUAGES |= {code: [code] for code in "sk sl sv th tr uk vi".split()} | {"zh": ["zh_Hans", "zh_Hant"]}
LABELS = sorted(LANGUAGES)

BUCKETS = 8192
# One multiplier per byte of an n-gram; an n-gram of n bytes uses the first n. Sums stay far below 2^53.
MULTIPLIERS = [1, 2654435, 40503141, 1566083]
SIZES = [1, 2, 3, 4]
STEP = 2.0**-7  # what one unit of the table adds to a logit
SHORTEST = 12  # letters


def clean(text: str) -> str:
    """Takes out what is the same in every language: placeholders, markup, escapes and runs of white space."""
    text = re.sub(r"%\(\w+\)[sdi]|%[sdi]|\{[^}]*\}|<[^>]*>|&\w+;|https?:\S+|[“”\"'`]", " ", text)
    return re.sub(r"\s+", " ", text).strip()


def messages(path: Path):
    """(msgid, [msgstr, …]) of each entry of a .po file."""
    strings = r'((?:\s*"(?:[^"\\]|\\.)*")+)'
    for block in path.read_text(encoding="utf-8").split("\n\n"):
        if "#, fuzzy" in block:
            continue
        found = {"msgid": [], "msgid_plural": [], "msgstr": []}
        for kind, quoted in re.findall(r"^(msgid|msgid_plural|msgstr)(?:\[\d\])?" + strings, block, re.M):
            found[kind].append("".join(ast.literal_eval(line.strip()) for line in quoted.strip().split("\n")))
        if found["msgid"] and found["msgid"][0]:
            yield found["msgid"][0], found["msgid"] + found["msgid_plural"], found["msgstr"]


def read():
    """(texts, labels, training rows, held-out rows).

    All translations of a message are on the same side of the split, so nothing held out was seen in any language.
    """
    root = Path(find_spec("django").origin).parent
    keys: dict[tuple[str, str], str] = {}  # (language, text) -> msgid
    for language, folders in LANGUAGES.items():
        for folder in folders or ["de"]:
            # English is what the translations of any other language start from.
            for path in sorted(root.glob(f"**/locale/{folder}/LC_MESSAGES/django*.po")):
                for msgid, originals, translations in messages(path):
                    for text in translations if folders else originals:
                        text = clean(text)
                        if sum(c.isalpha() for c in text) * (3 if language in ("ja", "ko", "zh") else 1) >= SHORTEST:
                            keys.setdefault((language, text), msgid)
    # A text that two languages share says nothing.
    shared = {}
    for language, text in keys:
        shared.setdefault(text, []).append(language)
    rows = sorted(key for key in keys if len(shared[key[1]]) == 1)
    ids = sorted({keys[row] for row in rows})
    held_out = set(np.random.default_rng(4).permutation(len(ids))[: len(ids) // 5].tolist())
    place = {msgid: i for i, msgid in enumerate(ids)}
    test = np.array([place[keys[row]] in held_out for row in rows])
    labels = np.array([LABELS.index(language) for language, _ in rows])
    return [text for _, text in rows], labels, np.flatnonzero(~test), np.flatnonzero(test)


def encode(texts: list[str]) -> np.ndarray:
    """UTF-8 bytes, shorter rows filled up with zeros."""
    raw = [np.frombuffer(text.encode(), np.uint8) for text in texts]
    rows = np.zeros((len(raw), max(map(len, raw))), np.uint8)
    for row, data in zip(rows, raw):
        row[: len(data)] = data
    return rows


def grams(text: str) -> np.ndarray:
    """The table rows of a text, as the graph computes them."""
    data = np.frombuffer(text.encode(), np.uint8).astype(np.int64)
    data = np.concatenate([data + 32 * ((data >= 65) & (data <= 90)), np.zeros(max(SIZES) - 1, np.int64)])
    count = len(data) - max(SIZES) + 1
    total, out = np.zeros(count, np.int64), []
    for i, multiplier in enumerate(MULTIPLIERS):
        total = total + data[i : i + count] * multiplier
        if i + 1 in SIZES:
            out.append((total + i) % BUCKETS)
    return np.concatenate(out)


def counts(texts: list[str]) -> csr_matrix:
    columns = [grams(text) for text in texts]
    starts = np.cumsum([0] + [len(c) for c in columns])
    flat = np.concatenate(columns)
    matrix = csr_matrix((np.ones(len(flat)), flat, starts), (len(texts), BUCKETS))
    matrix.sum_duplicates()
    return matrix


def train(x: csr_matrix, labels: np.ndarray) -> np.ndarray:
    """Multinomial logistic regression without intercepts: the table, in logits."""
    rng = np.random.default_rng(4)
    weights = np.zeros((BUCKETS, len(LABELS)))
    epochs, batches, decay = 6, -(-len(labels) // 256), 1e-4
    targets = np.eye(len(LABELS))[labels]
    layer = SimpleNamespace(params=[weights])
    adam = net.Adam(0.02, 0, epochs * batches)
    for _ in range(epochs):
        for rows in np.array_split(rng.permutation(len(labels)), batches):
            error = (net.softmax(x[rows] @ weights) - targets[rows]) / len(rows)
            layer.gradients = [x[rows].T @ error + decay * weights]
            adam.update([layer])
    return weights


def graph(weights: np.ndarray) -> bytes:
    g = Graph("language")
    lower = np.arange(256) + 32 * ((np.arange(256) >= 65) & (np.arange(256) <= 90))
    tail = max(SIZES) - 1
    data = g.op("Cast", "text", to_type=INT64)
    data = g.op("Gather", g.constant("lower", lower, np.int64), data)
    shape = g.op("Shape", "text", start=0, end=1)
    shape = g.op("Concat", shape, g.constant("tail", [tail], np.int64), axis=0)
    zeros = g.op("ConstantOfShape", shape, value=numpy_helper.from_array(np.zeros(1, np.int64)))
    data = g.op("Concat", data, zeros, axis=1)

    axis = g.constant("axis", [1], np.int64)
    total, rows = None, []
    for i, multiplier in enumerate(MULTIPLIERS):
        start = g.constant(f"start.{i}", [i], np.int64)
        end = g.constant(f"end.{i}", [i - tail if i < tail else np.iinfo(np.int64).max], np.int64)
        byte = g.op("Slice", data, start, end, axis)
        if i == 0:
            here = g.op("Greater", byte, g.constant("nothing", 0, np.int64))
        term = g.op("Mul", byte, g.constant(f"multiplier.{i}", multiplier, np.int64))
        total = g.op("Add", total, term) if total else term
        salted = g.op("Add", total, g.constant(f"salt.{i}", i, np.int64))
        rows.append(g.op("Mod", salted, "buckets"))
    g.constant("buckets", BUCKETS, np.int64)
    # n-grams that begin on the filling after the text take the last row of the table, which is zero.
    rows = [g.op("Where", here, row, "buckets") for row in rows]
    table = np.clip(np.round(weights / STEP), -127, 127)
    table = np.concatenate([table, np.zeros((1, len(LABELS)))])
    picked = g.op("Gather", g.constant("table", table, np.int8), g.op("Concat", *rows, axis=1))
    scores = g.op("ReduceSum", g.op("Cast", picked, to_type=FLOAT), axis, keepdims=0)
    g.op("ArgMax", scores, axis=1, keepdims=0, to="language")
    g.op("Softmax", g.op("Mul", scores, g.constant("step", STEP)), axis=1, to="probabilities")
    return g.model(
        [("text", UINT8, ["N", "L"])],
        [("language", INT64, ["N"]), ("probabilities", FLOAT, ["N", len(LABELS)])],
    )


def held_out():
    texts, labels, _, test = read()
    batches = [[tensor("text", encode([texts[row] for row in rows]))] for rows in np.array_split(test, 50)]
    return batches, labels[test]


SENTENCES = [
    "The quick brown fox jumps over the lazy dog.",
    "Wo ist der nächste Bahnhof, bitte?",
    "Je voudrais réserver une table pour deux personnes.",
    "¿Dónde está la biblioteca municipal?",
    "Сегодня вечером мы идём в театр.",
    "明日の天気はどうなりますか。",
    "오늘은 날씨가 아주 좋습니다.",
    "نريد أن نذهب إلى السوق غدا",
    "Vi har inte sett varandra på länge.",
    "Οι γάτες κοιμούνται στον ήλιο.",
]


def build() -> Built:
    texts, labels, training, test = read()
    file = graph(train(counts([texts[row] for row in training]), labels[training]))

    some = [texts[row] for row in np.random.default_rng(5).choice(test, 20, replace=False)]
    groups = [[text] for text in SENTENCES + some[:6]] + [SENTENCES, some[6:9], some[9:20]]
    # In capitals; one byte; the empty text, whose scores are all equal; and one that is no UTF-8.
    groups += [[SENTENCES[0].upper()], ["a"], ["\0"]]
    cases = [[tensor("text", encode(group))] for group in groups]
    cases.append([tensor("text", np.array([[255, 254, 128, 65, 66, 67]], np.uint8))])
    # Filled up with more zeros than it needs: the same answer.
    cases.append([tensor("text", np.pad(encode(SENTENCES[:1]), ((0, 0), (0, 20))))])
    details = {
        "name": "language",
        "task": "Which of 36 languages a text is in; `language` is a place in `labels`.",
        "inputs": [port("text", "UINT8", [-1, -1])],
        "outputs": [port("language", "INT64", [-1]), port("probabilities", "FP32", [-1, len(LABELS)])],
        "labels": LABELS,
        "rowsIndependent": True,
        "tokenizer": None,
        "encoding": "UTF-8 bytes, shorter rows filled up with zero bytes. A zero byte inside a text hides the n-grams "
        "that begin on it. An empty text gives equal probabilities and language 0.",
        "licence": "model: MIT; data: the translations of Django 5.2.19 (BSD-3-Clause)",
        "provenance": f"messages and translations in Django's .po files; {len(training)} texts train, {len(test)} are "
        "held out, all translations of a message on the same side",
        "heldOutRows": len(test),
    }
    return Built("language", file, details, cases, [0, 4, 5, 7, 16], held_out, rows=16, columns=1024, width=1)
