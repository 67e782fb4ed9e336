"""Makes the fixtures gru/ and lstm/: state dicts of PyTorch's nn.GRU and nn.LSTM, and their logits in float64.

Usage: recurrent.py OUTPUT_FOLDER   (needs torch and safetensors)
"""
import json, pathlib, sys

import torch
from safetensors.torch import save_file
from torch import nn

VOCAB, LENGTH = 400, 97


class Network(nn.Module):
    def __init__(self, cell, embedding, hidden, layers):
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, embedding)
        self.rnn = cell(embedding, hidden, layers, batch_first=True)
        self.head = nn.Linear(hidden, VOCAB)

    def forward(self, ids):
        return self.head(self.rnn(self.embedding(ids))[0])


torch.manual_seed(11)
for name, cell, embedding, hidden in [("gru", nn.GRU, 24, 40), ("lstm", nn.LSTM, 20, 36)]:
    folder = pathlib.Path(sys.argv[1]) / name
    folder.mkdir(parents=True, exist_ok=True)
    network = Network(cell, embedding, hidden, layers=2)
    for p in network.parameters():
        nn.init.normal_(p, std=2 / p.shape[-1] ** 0.5 if p.dim() == 2 else 0.5)
    nn.init.normal_(network.embedding.weight)
    config = dict(model_type=name, vocab_size=VOCAB, embedding_size=embedding, hidden_size=hidden, num_hidden_layers=2)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    if name == "gru":
        save_file(network.state_dict(), folder / "model.safetensors")
    else:
        torch.save(network.state_dict(), folder / "pytorch_model.bin")
    ids = torch.randint(VOCAB, (1, LENGTH))
    with torch.no_grad():
        logits = network.double()(ids)[0].float()
    save_file({"input_ids": ids[0].contiguous(), "positions": torch.arange(LENGTH), "logits": logits.contiguous()},
              folder / "reference.safetensors")
