"""Trains the default model in pieces that can be stopped and taken up again, on CPU cores or a GPU.

    python train.py --data data --out run --minutes 60                      # a first piece
    python train.py --data data --out run --minutes 60 --decay 30           # the last: the rate falls over its last 30 minutes

Muon (Jordan et al., 2024: momentum, made orthogonal by Newton-Schulz iterations) trains the matrices of blocks, Adam
(Kingma and Ba, arXiv:1412.6980) the rest. The rate rises, stays, and falls in the last piece (warm-up, stable, decay: Hu et al., arXiv:2404.06395),
so that a run can have any number of pieces. With --levels the forward pass has weights rounded to as many levels of each
sign, and gradients pass through the rounding (straight-through: Bengio et al., arXiv:1308.3432).

Writes OUT/state.pt each minute, OUT/history.tsv, and OUT/model at the end.
"""
import argparse
import json
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.multiprocessing as mp

import checkpoint
from decoder import Decoder, configuration, initial_weights, is_block_matrix

LENGTH = 1024  # tokens that are learned of each sequence
MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan's coefficients, five iterations
REPORT_S = 60
COMPILED = 2  # steps after which each worker has compiled its passes
JOB = 2  # sequences that a CPU process takes at a time


def working_type(device):
    """The type that products are fastest in: bfloat16 where the processor multiplies it, else float32."""
    if device == "cuda":
        return torch.bfloat16
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return torch.bfloat16 if "avx512_bf16" in flags or "amx_bf16" in flags else torch.float32


class Sampler:
    """Sequences of LENGTH + 1 tokens. Three in five begin anywhere, one in five at a document's beginning, and one in five
    anywhere but after token 0: so llmzip's lanes begin."""

    def __init__(self, folder, seed, shares):
        """`shares`: `{name of a file of tokens: its share of the sequences}`; the others share the rest by length."""
        paths = sorted(folder.glob("train-*.tokens"))
        self.files = [np.memmap(path, np.uint16, "r") for path in paths]
        self.starts = [np.flatnonzero(file[: -LENGTH - 1] == 0) for file in self.files]
        fixed = np.array([shares.get(path.stem, 0.0) for path in paths])
        free = np.where(fixed > 0, 0, [len(file) for file in self.files])
        self.share = fixed + (1 - fixed.sum()) * free / free.sum()
        self.random = np.random.default_rng(seed)

    def next(self):
        which = self.random.choice(len(self.files), p=self.share)
        file, kind = self.files[which], self.random.random()
        at = self.random.integers(len(file) - LENGTH - 1)
        if kind < 0.2:
            at = self.random.choice(self.starts[which])
        tokens = file[at : at + LENGTH + 1].astype(np.int64)
        if kind > 0.8:
            tokens = np.concatenate([[0], tokens[:-1]])
        return torch.from_numpy(tokens)


class Gradients:
    """Loss and gradients of a batch, sequence by sequence on CPU cores, each a process, or at once on a GPU.

    `working` is what the forward pass sees: weights in bfloat16, rounded if they will be.
    """

    def __init__(self, config, working, workers, device):
        self.working, self.workers, self.device = working, workers, device
        self.processor_s = 0.0  # of the workers, all together
        self.network = Decoder(config, LENGTH, device)
        if device == "cuda":
            self.loss = torch.compile(self.network.loss)
            return
        context = mp.get_context("spawn")
        self.jobs, self.losses = context.Queue(), context.Queue()
        for tensor in working.values():
            tensor.share_memory_()
        self.sums = [{name: torch.zeros_like(w, dtype=torch.float32).share_memory_() for name, w in working.items()} for _ in range(workers)]
        for sums in self.sums:
            args = (config, working, sums, self.jobs, self.losses)
            context.Process(target=work, args=args, daemon=True).start()

    def of(self, batch):
        """(mean loss in nats, `{name: gradient}` in float32)"""
        if self.device == "cuda":
            leaves = {name: w.detach().requires_grad_() for name, w in self.working.items()}
            loss = self.loss(leaves, torch.stack(batch).to(self.device))
            gradients = torch.autograd.grad(loss, list(leaves.values()))
            return loss.item(), {name: g.float() for name, g in zip(leaves, gradients)}
        jobs = [torch.stack(batch[i : i + JOB]).numpy() for i in range(0, len(batch), JOB)]
        for job in jobs:
            self.jobs.put(job)
        answers = [self.losses.get() for _ in jobs]
        loss = sum(loss for loss, _ in answers) / len(batch)
        self.processor_s += sum(seconds for _, seconds in answers)
        total = {name: sum(sums[name] for sums in self.sums) / len(batch) for name in self.working}
        for sums in self.sums:
            for tensor in sums.values():
                tensor.zero_()
        return loss, total


def work(config, working, sums, jobs, losses):
    """A process that adds the gradients of one job after the other to `sums`."""
    torch.set_num_threads(1)
    loss_of = torch.compile(Decoder(config, LENGTH).loss)
    leaves = {name: w.requires_grad_() for name, w in working.items()}
    while True:
        job = torch.from_numpy(jobs.get())
        begun = time.process_time()
        loss = loss_of(leaves, job) * len(job)
        for total, gradient in zip(sums.values(), torch.autograd.grad(loss, list(leaves.values()))):
            total.add_(gradient)
        losses.put((loss.item(), time.process_time() - begun))


class Optimiser:
    def __init__(self, weights, rate, adam_rate):
        self.weights, self.rate = weights, rate
        self.momentum = {name: torch.zeros_like(w) for name, w in weights.items() if is_block_matrix(name)}
        rest = [w for name, w in weights.items() if name not in self.momentum]
        self.adam = torch.optim.Adam(rest, lr=adam_rate, betas=(0.9, 0.95))
        self.adam_rate = adam_rate
        self.shapes = {}
        for name, momentum in self.momentum.items():
            self.shapes.setdefault(tuple(momentum.shape), []).append(name)

    @torch.no_grad()
    def step(self, gradients, factor):
        """Goes against `gradients` at `factor` of the rates."""
        rest = [name for name in self.weights if name not in self.momentum]
        for name in rest:
            self.weights[name].grad = gradients[name]
        torch.nn.utils.clip_grad_norm_([self.weights[name] for name in rest], 1.0)
        for group in self.adam.param_groups:
            group["lr"] = self.adam_rate * factor
        self.adam.step()
        for (outputs, inputs), names in self.shapes.items():
            for name in names:
                self.momentum[name].mul_(MOMENTUM).add_(gradients[name])
            nesterov = torch.stack([gradients[n] + MOMENTUM * self.momentum[n] for n in names])
            step = self.rate * factor * max(1.0, outputs / inputs) ** 0.5
            for name, direction in zip(names, orthogonal(nesterov)):
                self.weights[name].sub_(direction, alpha=step)


def orthogonal(m):
    """Matrices near to the nearest orthogonal ones; m: [matrices, outputs, inputs]."""
    if m.shape[1] > m.shape[2]:
        return orthogonal(m.mT).mT
    x = (m / (m.norm(dim=(1, 2), keepdim=True) + 1e-7)).bfloat16()
    a, b, c = NEWTON_SCHULZ
    for _ in range(5):
        gram = x @ x.mT
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.float()


@torch.no_grad()
def refresh(working, weights, levels):
    """What the forward pass sees of `weights`."""
    for name, w in weights.items():
        linear = levels and checkpoint.is_linear(name)
        working[name].copy_(checkpoint.rounded(w, checkpoint.levels_of(name, levels)) if linear else w)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"), help="what prepare.py wrote")
    parser.add_argument("--out", type=Path, default=Path("run"), help="state, history and model; taken up where it stopped")
    parser.add_argument("--minutes", type=float, required=True, help="of this piece")
    parser.add_argument("--decay", type=float, default=0, help="its last minutes, in which the rate falls to zero")
    parser.add_argument("--from", dest="start", help="begin with this model's weights, not with random ones")
    parser.add_argument("--processor", action="store_true", help="minutes are the workers' processor time, over their number")
    parser.add_argument("--share", action="append", default=[], metavar="NAME=P", help="of the sequences that come from NAME.tokens")
    parser.add_argument("--levels", type=int, help="of each sign that weights are rounded to, at most 127")
    parser.add_argument("--batch", type=int, default=16, help="sequences a step")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="CPU processes")
    parser.add_argument("--rate", type=float, default=0.02, help="Muon's")
    parser.add_argument("--adam-rate", type=float, default=0.004)
    parser.add_argument("--warmup", type=int, default=100, help="steps")
    parser.add_argument("--seed", type=int, default=1)
    for name, value in dict(width=256, layers=6, heads=4, hidden=768, window=256).items():
        parser.add_argument(f"--{name}", type=int, default=value, help="of a new model")
    parser.add_argument("--qk-norm", action="store_true", help="a new model's queries and keys are normalised")
    args = parser.parse_args()

    args.out.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = args.data / "tokenizer.json"
    kept = args.out / "state.pt"
    state = torch.load(kept, map_location=device) if kept.exists() else None
    if state:
        config, weights = state["config"], state["weights"]
    elif args.start:
        config, weights = checkpoint.load(args.start)
    else:
        size = {k: getattr(args, k) for k in ("width", "layers", "heads", "hidden", "window", "qk_norm")}
        config = configuration(vocabulary=len(json.loads(tokenizer.read_text())["model"]["vocab"]), **size)
        weights = initial_weights(config, args.seed)
    weights = {name: w.to(device) for name, w in weights.items()}
    optimiser = Optimiser(weights, args.rate, args.adam_rate)
    steps = 0
    if state:
        steps = state["steps"]
        optimiser.adam.load_state_dict(state["adam"])
        for name, momentum in optimiser.momentum.items():
            momentum.copy_(state["momentum"][name])
    working = {name: w.to(working_type(device)) for name, w in weights.items()}
    gradients = Gradients(config, working, args.workers, device)
    shares = {name: float(p) for name, p in (share.split("=") for share in args.share)}
    sampler = Sampler(args.data, (args.seed, steps), shares)

    def save():
        torch.save({"config": config, "weights": weights, "adam": optimiser.adam.state_dict(),
                    "momentum": optimiser.momentum, "steps": steps}, kept.with_suffix(".tmp"))
        kept.with_suffix(".tmp").replace(kept)

    start = reported = time.monotonic()
    first, smooth = steps, None

    def spent():
        """Minutes of this piece so far; compiling takes none of the processor's."""
        seconds = gradients.processor_s / args.workers if args.processor else time.monotonic() - start
        return seconds / 60

    while (left := args.minutes - spent()) > 0:
        factor = min(1.0, (steps + 1) / args.warmup, left / args.decay if args.decay else 1.0)
        refresh(working, weights, args.levels)
        loss, gradient = gradients.of([sampler.next() for _ in range(args.batch)])
        if not math.isfinite(loss):
            raise SystemExit(f"step {steps}: the loss is {loss}")
        optimiser.step(gradient, factor)
        steps += 1
        if steps - first == COMPILED:
            gradients.processor_s = 0.0
        bits = loss / math.log(2)
        smooth = bits if smooth is None else 0.98 * smooth + 0.02 * bits
        if time.monotonic() - reported > REPORT_S:
            reported = time.monotonic()
            speed = (steps - first) * args.batch * LENGTH / (reported - start)
            line = f"{steps}\t{steps * args.batch * LENGTH / 1e6:.2f}\t{smooth:.4f}\t{speed:.0f}"
            print(line.replace("\t", "  "), flush=True)
            with open(args.out / "history.tsv", "a") as history:
                history.write(line + "\n")
            save()
    save()
    checkpoint.save(args.out / "model", config, {n: w.cpu() for n, w in weights.items()}, tokenizer, args.levels)
    print(f"{steps} steps, {steps * args.batch * LENGTH / 1e6:.1f} million tokens: {args.out / 'model'}")


if __name__ == "__main__":
    main()
