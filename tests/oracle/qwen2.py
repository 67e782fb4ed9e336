"""Makes `qwen2-tied`: a tiny Qwen2 with random weights and biases, and its logits.

    python tests/oracle/qwen2.py          # needs torch, transformers, safetensors
"""
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import Qwen2Config, Qwen2ForCausalLM

OUT = Path(__file__).parent / "qwen2-tied"
TOKENS = 97

config = Qwen2Config(
    vocab_size=400, hidden_size=64, intermediate_size=160, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=256, rope_theta=1000000.0, rms_norm_eps=1e-6, tie_word_embeddings=True, bos_token_id=0,
    eos_token_id=0, attn_implementation="eager",
)
torch.manual_seed(11)
model = Qwen2ForCausalLM(config).float().eval()
with torch.no_grad():
    for name, parameter in model.named_parameters():
        mean = 1.0 if "norm" in name else 0.0
        parameter.normal_(mean, 0.2)
model.save_pretrained(OUT)
ids = torch.randint(400, (1, TOKENS))
with torch.no_grad():
    logits = model.double()(ids).logits[0]
reference = {"input_ids": ids[0], "positions": torch.arange(TOKENS), "logits": logits.float()}
save_file(reference, OUT / "reference.safetensors")
(OUT / "generation_config.json").unlink(missing_ok=True)
