"""Small GGUF files of a random Llama, as llama.cpp's tools write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

WIDTH, LAYERS, HEADS, INNER = 32, 2, 4, 64

END = 257
"""The token after the 256 bytes and one merge."""


def write_gguf(
    path: Path, *, quantized: bool = False, architecture: str = "llama", layers: int = LAYERS
) -> Path:
    """A model of WIDTH with a tokenizer of bytes; `quantized` packs its matrices as Q8_0.

    `layers` is how many it says that it has; it has LAYERS.
    """
    import gguf

    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(512)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(END + 1)
    _add_tokenizer(writer)
    numbers = np.random.default_rng(0)

    def add(name: str, *shape: int) -> None:
        matrix = numbers.normal(scale=0.1, size=shape).astype(np.float32)
        if quantized:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quantize(matrix, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, matrix)

    def add_ones(name: str) -> None:
        writer.add_tensor(name, np.ones(WIDTH, np.float32))

    add("token_embd.weight", END + 1, WIDTH)
    add("output.weight", END + 1, WIDTH)
    add_ones("output_norm.weight")
    for block in range(LAYERS):
        for norm in ("attn_norm", "ffn_norm"):
            add_ones(f"blk.{block}.{norm}.weight")
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{block}.{part}.weight", WIDTH, WIDTH)
        add(f"blk.{block}.ffn_gate.weight", INNER, WIDTH)
        add(f"blk.{block}.ffn_up.weight", INNER, WIDTH)
        add(f"blk.{block}.ffn_down.weight", WIDTH, INNER)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: object) -> None:
    import gguf

    assert isinstance(writer, gguf.GGUFWriter)
    shown = [
        byte for byte in range(256) if byte in (*range(33, 127), *range(161, 173), *range(174, 256))
    ]
    hidden = [byte for byte in range(256) if byte not in shown]
    letters = dict(zip(shown, map(chr, shown), strict=True))
    letters |= {byte: chr(256 + i) for i, byte in enumerate(hidden)}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([*(letters[byte] for byte in range(256)), "th", "<|endoftext|>"])
    writer.add_token_types([gguf.TokenType.NORMAL] * END + [gguf.TokenType.CONTROL])
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(END)
    writer.add_eos_token_id(END)
    writer.add_chat_template(
        "{% for turn in messages %}{{ turn.content }}{% endfor %}<|endoftext|>"
    )
