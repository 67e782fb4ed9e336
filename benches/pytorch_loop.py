"""What llmzip's speed is compared with: a plain PyTorch loop, one token at a time with a key/value cache, softmax included.

Usage: pytorch_loop.py MODEL_FOLDER [THREADS]     prints tokens per second at batch 1 and 25   (needs torch and transformers)
"""
import sys
import time

import torch
from transformers import AutoModelForCausalLM

torch.set_num_threads(int(sys.argv[2]) if len(sys.argv) > 2 else 2)
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32).eval()


@torch.no_grad()
def tokens_per_second(batch, steps):
    tokens = torch.randint(0, model.config.vocab_size, (batch, steps))
    past, start = None, time.time()
    for step in range(steps):
        out = model(tokens[:, step : step + 1], past_key_values=past, use_cache=True)
        past = out.past_key_values
        torch.softmax(out.logits[:, -1].double(), -1)
    return batch * steps / (time.time() - start)


tokens_per_second(1, 5)
for batch in (1, 25):
    print(f"batch {batch}: {max(tokens_per_second(batch, 150) for _ in range(3)):.1f} tokens/s")
