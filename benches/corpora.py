#!/usr/bin/env python3
"""A model of a corpus on many workers, for docs/corpora.md: simulated, not measured.

    python3 benches/corpora.py [--workers 1000] [--bytes 1e12] [--rate BYTES_PER_CORE_SECOND] [--seeds 5]

Each worker has a core. A part takes its length by the rate, times what its text (lognormal, sigma 0.1) and its worker's
speed make of it: a share of the workers is slow. A worker is taken away at times of an exponential distribution, which
loses its part, and comes back later; then, and at first, it loads its model. Parts are given out one at a time as
workers are free (queue: Ray, GNU parallel), or each worker has its share from the beginning (stride: Slurm arrays). With
backups a free worker repeats the part that runs longest, once nothing else is left. Needs numpy.

time is the hours until the last part is done; over is how much longer that is than if all the workers worked all
the time and lost nothing; lost is the share of work that was repeated; tail is the time from the first worker that is
free for good to the end, in percent of all.
"""

import argparse
import heapq
from collections import deque

import numpy as np

SCENARIOS = {
    "equal workers": {},
    "5 % at a third of the speed": {"slow": 0.05},
    "taken away every 4 h, back in 10 min": {"taken": 4 * 3600},
    "both": {"slow": 0.05, "taken": 4 * 3600},
    "both, 60 s to load a model": {"slow": 0.05, "taken": 4 * 3600, "start": 60},
}


def simulate(seed, workers, total, rate, part, policy, backups=False, slow=0.0, taken=0.0, back=600.0, start=0.1):
    """Hours, excess, loss and tail of one run."""
    chance = np.random.default_rng(seed)
    n = int(-(-total // part))
    work = np.full(n, part / rate)
    work[-1] = (total - (n - 1) * part) / rate
    work *= chance.lognormal(0, 0.1, n)
    speed = np.where(chance.random(workers) < slow, 1 / 3, 1.0)
    queues = [deque(range(n))] * workers
    if policy == "stride":
        queues = [deque(range(w, n, workers)) for w in range(workers)]
    done, running = np.zeros(n, bool), {}  # running: worker to part, begin
    copies, lost, left, first_free = np.zeros(n, int), 0.0, n, None
    epoch = np.zeros(workers, int)
    events, free = [], set()

    def push(time, what, worker):
        heapq.heappush(events, (time, what, worker, epoch[worker]))

    def give(now, worker):
        nonlocal first_free
        queue = queues[worker]
        while queue and done[queue[0]]:
            queue.popleft()
        if queue:
            part = queue.popleft()
        else:
            first_free = now if first_free is None else first_free
            others = [(begun, p) for p, begun in running.values() if copies[p] == 1] if backups else []
            if not others:
                return
            part = min(others)[1]
        running[worker] = part, now
        copies[part] += 1
        push(now + work[part] / speed[worker], "done", worker)

    for worker in range(workers):
        push(start, "free", worker)
        if taken:
            heapq.heappush(events, (chance.exponential(taken), "taken", worker, -1))
    while left:
        now, what, worker, of = heapq.heappop(events)
        if what == "taken":
            epoch[worker] += 1
            if worker in running:
                part, begun = running.pop(worker)
                copies[part] -= 1
                lost += (now - begun) * speed[worker]
                if not copies[part]:
                    queues[worker].appendleft(part)
                    first_free = None
                    free.discard(worker)
                    if free and policy == "queue":
                        give(now, free.pop())
            free.discard(worker)
            push(now + back + start, "free", worker)
            heapq.heappush(events, (now + back + chance.exponential(taken), "taken", worker, -1))
        elif of == epoch[worker]:
            if what == "done":
                part, begun = running.pop(worker)
                copies[part] -= 1
                if done[part]:
                    lost += work[part]
                else:
                    done[part], left = True, left - 1
                # The slower copy is let go.
                for other in [w for w, (p, _) in running.items() if p == part] if copies[part] else []:
                    lost += (now - running.pop(other)[1]) * speed[other]
                    copies[part] -= 1
                    epoch[other] += 1
                    free.add(other)
            free.discard(worker)
            give(now, worker)
            if worker not in running:
                free.add(worker)
    ideal = work.sum() / speed.sum()
    return now / 3600, 100 * (now / ideal - 1), 100 * lost / work.sum(), 100 * (now - (first_free or now)) / now


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--bytes", type=float, default=1e12)
    parser.add_argument("--rate", type=float, default=16.6e3, help="bytes a core second [16.6e3]")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    print(f"{options.bytes:.3g} bytes, {options.workers} workers, {options.rate:.3g} bytes a core second")
    print("| workers | part | given by | time, h | over, % | lost, % | tail, % |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: |")
    rows = [(name, mib, "queue", False) for name in SCENARIOS for mib in (4, 16, 64, 256)]
    rows += [("both", 16, "stride", False), ("both", 64, "stride", False)]
    rows += [("both", 16, "queue", True), ("both", 64, "queue", True)]
    for name, mib, policy, backups in rows:
        runs = []
        for seed in range(options.seeds):
            about = SCENARIOS[name]
            runs.append(
                simulate(seed, options.workers, options.bytes, options.rate, mib << 20, policy, backups, **about)
            )
        time, over, lost, tail = np.mean(runs, axis=0)
        how = policy + (", backups" if backups else "")
        print(f"| {name} | {mib} MiB | {how} | {time:.2f} | {over:.1f} | {lost:.1f} | {tail:.1f} |", flush=True)


if __name__ == "__main__":
    main()
