"""Makes `adapters/BASE`: low-rank adapters with random weights beside models of this folder, and the logits of both together.

    python tests/oracle/adapters.py          # needs torch, transformers, peft, safetensors
"""
import json
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

HERE = Path(__file__).parent
TOKENS = 40
BASES = {
    "gpt-neox-parallel-f16": dict(r=4, lora_alpha=12, target_modules=["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"]),
    "gpt2": dict(r=3, lora_alpha=6, target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True),
    "llama-gqa-tied": dict(r=2, lora_alpha=3, use_rslora=True, target_modules=["q_proj", "v_proj", "down_proj"]),
    "qwen3-tied": dict(r=5, lora_alpha=7, target_modules="all-linear"),
}

for base, config in BASES.items():
    out = HERE / "adapters" / base
    torch.manual_seed(len(base))
    model = AutoModelForCausalLM.from_pretrained(HERE / base, dtype=torch.float32, attn_implementation="eager")
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **config)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.15)
                if base == "llama-gqa-tied":
                    parameter.copy_(parameter.bfloat16())
    model.save_pretrained(out, save_embedding_layers=False)
    (out / "README.md").unlink(missing_ok=True)
    path = out / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": base}, indent=2) + "\n")
    weights = out / "adapter_model.safetensors"
    if base == "llama-gqa-tied":
        save_file({name: x.bfloat16() for name, x in load_file(weights).items()}, weights, {"format": "pt"})
    ids = torch.randint(model.config.vocab_size, (1, TOKENS))
    with torch.no_grad():
        logits = model.double()(ids).logits[0]
    positions = torch.arange(0, TOKENS, 8)
    reference = {"input_ids": ids[0], "positions": positions, "logits": logits[positions].float()}
    save_file(reference, out / "reference.safetensors")
