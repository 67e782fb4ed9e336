"""Makes `mistral-window`: a tiny Mistral with random weights, and its logits far past its sliding window.

    python tests/oracle/mistral.py          # needs torch, transformers, safetensors
"""
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import MistralConfig, MistralForCausalLM

OUT = Path(__file__).parent / "mistral-window"
TOKENS = 96

config = MistralConfig(
    vocab_size=300, hidden_size=32, intermediate_size=80, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=1,
    head_dim=8, sliding_window=16, max_position_embeddings=4096, tie_word_embeddings=True, bos_token_id=0, eos_token_id=0,
    attn_implementation="eager",
)
torch.manual_seed(7)
model = MistralForCausalLM(config).float().eval()
with torch.no_grad():
    for parameter in model.parameters():
        parameter.normal_(std=0.3) if parameter.dim() > 1 else parameter.normal_(1.0, 0.2)
model.save_pretrained(OUT)
ids = torch.randint(300, (1, TOKENS))
with torch.no_grad():
    logits = model.double()(ids).logits[0]
positions = torch.arange(0, TOKENS, 5)
save_file(
    {"input_ids": ids[0], "positions": positions, "logits": logits[positions].float()}, OUT / "reference.safetensors"
)
(OUT / "generation_config.json").unlink(missing_ok=True)
