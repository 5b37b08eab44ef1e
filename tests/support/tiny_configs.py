"""A tiny configuration of any causal architecture of transformers, by the names of its sizes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedConfig


def _each(value: Any, names: str) -> dict[str, Any]:
    return dict.fromkeys(names.split(), value)


VOCABULARY, POSITIONS = 61, 64

SIZES: dict[str, Any] = {
    **_each(
        32,
        "hidden_size d_model n_embd dim emb_dim embedding_size dim_model embed_dim lru_width"
        " projection_dim hidden_dim out_hidden_size mm_embed_dim output_proj_dims audio_embed_dim"
        " hidden_size_global input_embedding_size pronunciation_embed_dim shape_embed_dim"
        " mamba_d_ssm image_size",
    ),
    **_each(
        32,
        "intermediate_size ffn_dim decoder_ffn_dim encoder_ffn_dim n_inner dff dim_ff d_inner"
        " feed_forward_size intermediate_size_mlp ffn_hidden_size mlp_dim",
    ),
    **_each(
        16,
        "moe_intermediate_size shared_expert_intermediate_size expert_ffn_hidden_size"
        " moe_shared_expert_intermediate_size shared_intermediate_size q_lora_rank kv_lora_rank"
        " mamba_d_state ssm_state_size state_size adapter_rank laurel_rank sliding_window"
        " hidden_size_per_layer_input attention_window_size window_size",
    ),
    **_each(
        2,
        "num_hidden_layers n_layer num_layers n_layers decoder_layers encoder_layers"
        " num_decoder_layers num_encoder_layers num_blocks depth num_key_value_heads num_kv_heads"
        " kv_n_heads num_experts_per_tok moe_k moe_top_k moe_topk top_k_experts"
        " linear_num_key_heads conf_num_hidden_layers conf_num_attention_heads",
    ),
    **_each(
        4,
        "num_attention_heads n_head num_heads n_heads decoder_attention_heads mamba_num_heads"
        " encoder_attention_heads num_decoder_attention_heads num_encoder_attention_heads"
        " num_experts num_local_experts n_routed_experts moe_num_experts linear_num_value_heads"
        " linear_num_heads rotary_dim mamba_n_heads n_mamba_heads",
    ),
    **_each(
        8,
        "head_dim qk_nope_head_dim v_head_dim qk_rope_head_dim mamba_chunk_size chunk_size"
        " linear_key_head_dim linear_value_head_dim linear_head_dim attention_head_size"
        " mamba_head_dim",
    ),
    **_each(1, "n_group topk_group n_shared_experts first_k_dense_replace num_dense_layers"),
    **_each(
        VOCABULARY,
        "vocab_size vocab_size_per_layer_input pronunciation_vocab_size shape_vocab_size",
    ),
    **_each(POSITIONS, "max_position_embeddings n_positions n_ctx max_seq_len"),
    **_each(True, "is_decoder causal"),
    **{"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "output_embedding_size": 48},
}
"""Values for the fields of a configuration that have these names."""

QWEN2 = {"model_type": "qwen2", **{k: SIZES[k] for k in (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "max_position_embeddings",
)}}  # fmt: skip

EIGHT_HEADS = {"mamba_n_heads": 8}
SHARED_KV = {"num_kv_shared_layers": 0, "layer_types": ["sliding_attention", "full_attention"]}

OWN: dict[str, dict[str, Any]] = {
    "bamba": EIGHT_HEADS,
    "granitemoehybrid": EIGHT_HEADS,
    "falcon_h1": {"mamba_d_head": 8},
    "dbrx": {"attn_config": {"rope_theta": 1e4, "clip_qkv": 8.0}},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "mamba2": {"head_dim": 16, "n_groups": 1},
    "nemotron_h": {"layers_block_type": ["mamba", "attention"], "n_groups": 1},
    "reformer": {
        "axial_pos_embds": False, "attn_layers": ["local", "local"], "local_attn_chunk_length": 4,
        "hidden_dropout_prob": 0.0, "local_attention_probs_dropout_prob": 0.0,
    },
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "gemma3n_text": SHARED_KV,
    "gemma4_text": SHARED_KV,
    "gemma4": {"text_config": SHARED_KV, "vision_config": {"position_embedding_size": 16}},
    "gemma4_unified_text": SHARED_KV,
    "gemma4_unified": {"text_config": SHARED_KV, "vision_config": {"mm_posemb_size": 16}},
    "cohere_compass_text": {
        "rope_parameters": {
            "full_attention": {
                "rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2],
            },
        },
    },
    "got_ocr2": {"text_config": QWEN2},
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "num_hidden_layers": 4, "layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"],
        "attention_head_dim": 16,
    },
    "inkling_text": {"vocab_size": VOCABULARY + 3, "unpadded_vocab_size": VOCABULARY},
    "zamba2": {"layers_block_type": ["mamba", "hybrid"], "n_mamba_heads": 8},
    "zaya": {"num_experts_per_tok": 1},
    "blt": {"encoder_hash_byte_group_vocab": 61},
}  # fmt: skip
"""What an architecture wants otherwise."""

LATENT = "kv_lora_rank"
"""Attention over a latent vector has as many heads for keys as for queries."""


def tiny_config(name: str, kind: type[PreTrainedConfig]) -> PreTrainedConfig:
    """A configuration with every size that is known by its name made small.

    Args:
        name: of the architecture.
        kind: its class.
    """
    return kind(**_fields(kind, OWN.get(name, {})))


def _fields(kind: type[PreTrainedConfig], own: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(kind)}
    fields = {name: value for name, value in SIZES.items() if name in names}
    if LATENT in names and "num_key_value_heads" in names:
        fields["num_key_value_heads"] = fields["num_attention_heads"]
    for name, part in kind.sub_configs.items():
        if dataclasses.is_dataclass(part) and name in names and part.__name__ != "AutoConfig":
            fields[name] = _fields(part, own.get(name, {}))
    parts = {name for name in kind.sub_configs if isinstance(fields.get(name), dict)}
    return {**fields, **{name: value for name, value in own.items() if name not in parts}}
