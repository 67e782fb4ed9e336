"""Trims transformers' reference logits to fixtures small enough for git; see README.md.

Usage: trim.py FOLDER_OF_MODELS OUTPUT_FOLDER   (needs numpy and safetensors)
"""
import pathlib, shutil, sys

import numpy as np
from safetensors.numpy import load_file, save_file

models, out = map(pathlib.Path, sys.argv[1:])
for name in ["gpt-neox-parallel-f16", "gpt-neox-sequential-sharded", "gpt2", "llama-gqa-tied", "llama-gqa-untied-headdim",
             "llama-mha-untied-bf16", "llama-mha-untied-pickle", "qwen3-tied"]:
    (out / name).mkdir(parents=True, exist_ok=True)
    for file in [models / name / "config.json", *models.glob(f"{name}/*model*")]:
        shutil.copy(file, out / name / file.name)
    reference = models / name / "REFERENCE"
    reference = models / name / (reference.read_text().strip() if reference.exists() else "reference.safetensors")
    full = load_file(reference)
    save_file({"input_ids": full["input_ids"][0], "positions": np.arange(97, dtype=np.int64),
               "logits": full["logits_f64"][0].astype(np.float32)}, out / name / "reference.safetensors")
