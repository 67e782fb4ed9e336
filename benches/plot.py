"""Rows of `llmzip bench --csv` as a plot: SVG on standard output, for light and dark pages.

plot.py size-speed ROWS.csv     bits per byte against KB/s, both ways, on a logarithmic axis
plot.py chunk-ratio ROWS.csv    bits per byte against the chunk size, a line for each level and model

Of several rows with the same command the last counts; rows that failed are left out.
"""

import csv
import math
import sys
from html import escape

STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f }
.grid { stroke: #d0d7de; stroke-width: 1; fill: none }
.peer { fill: #57606a; stroke: #57606a } .own { fill: #bf3989; stroke: #bf3989 }
.line { fill: none; stroke-width: 2 } .title { font-weight: 600; font-size: 14px } .strong { font-weight: 600 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .grid { stroke: #30363d }
  .peer { fill: #9198a1; stroke: #9198a1 } .own { fill: #ff80c8; stroke: #ff80c8 }
}
"""
CHARACTER = 6.3  # width of a label's character, about
LINE = 14  # its height


class Axis:
    """Values to pixels."""

    def __init__(self, values, pixels, log=False, step=None):
        self.scale = math.log10 if log else float
        low, high = min(map(self.scale, values)), max(map(self.scale, values))
        room = 0.06 * (high - low) or 0.5
        self.low, self.high, self.pixels, self.log = low - room, high + room, pixels, log
        self.step = step or next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5) if (high - low + 2 * room) / s <= 8)

    def at(self, value):
        start, end = self.pixels
        return start + (self.scale(value) - self.low) / (self.high - self.low) * (end - start)

    def ticks(self):
        if self.log:
            exponents = range(math.ceil(self.low), math.floor(self.high) + 1)
            return [10.0**e for e in exponents]
        return [i * self.step for i in range(math.ceil(self.low / self.step), math.floor(self.high / self.step) + 1)]


def read(path):
    with open(path, newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["roundtrip_ok"] == "true"]
    return list({(row["file"], row["model"], row["command"]): row for row in rows}.values())


def text(x, y, words, kind="", anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(words)}</text>'


def frame(x_axis, y_axis, x_name, x_words, title):
    (left, right), (bottom, top) = x_axis.pixels, y_axis.pixels
    out = [f'<rect class="grid" x="{left}" y="{top}" width="{right - left}" height="{bottom - top}"/>']
    for value in x_axis.ticks() if x_words is None else x_words:
        x = x_axis.at(value)
        out.append(f'<path class="grid" d="M{x:.1f} {top}V{bottom}"/>')
        out.append(text(x, bottom + 18, f"{value:,g}" if x_words is None else x_words[value], anchor="middle"))
    for value in y_axis.ticks():
        y = y_axis.at(value)
        out.append(f'<path class="grid" d="M{left} {y:.1f}H{right}"/>')
        out.append(text(left - 6, y + 4, f"{value:g}" if y_axis.step >= 0.1 else f"{value:.2f}", anchor="end"))
    middle = (top + bottom) / 2
    out.append(text((left + right) / 2, bottom + 40, x_name, anchor="middle"))
    out.append(f'<g transform="rotate(-90 {left - 44} {middle})">{text(left - 44, middle, "bits per byte", anchor="middle")}</g>')
    return out + [text(left, top - 10, title, "title")]


def labels(points, bounds):
    """A place for the name of each point (x, y, name, kind) where it hides no other, if there is one."""
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y, _, _ in points]
    out = []
    for x, y, name, kind in points:
        width = CHARACTER * len(name)
        beside = [(side, dy) for dy in (0, -10, 10) for side in (8, -8 - width)]
        shifts = beside + [(-width / 2, -14), (-width / 2, 14)] + [(side, dy) for dy in (-22, 22) for side in (8, -8 - width)]
        boxes = [(x + dx, y + dy - LINE / 2, x + dx + width, y + dy + LINE / 2) for dx, dy in shifts]
        inside = [b for b in boxes if bounds[0] <= b[0] and b[2] <= bounds[1]] or boxes
        clash = lambda b: sum(b[0] < t[2] and t[0] < b[2] and b[1] < t[3] and t[1] < b[3] for t in taken)
        box = min(inside, key=clash)
        taken.append(box)
        anchor = "start" if box[0] > x else "end" if box[2] < x else "middle"
        at = {"start": box[0], "end": box[2], "middle": x}[anchor]
        out.append(text(at, box[3] - 3, name, "strong" if kind == "own" else "", anchor))
    return out


def short(command):
    """`7z a -mx=9 -m0=PPMd packed.7z plain` -> `7z -mx=9 -m0=PPMd`: what is typed but for files and verbs."""
    words = command.split()
    return " ".join(words[:1] + [word for word in words[1:] if word.lstrip("-") != word or word.isdigit()])


def size_speed(rows):
    bits = Axis([float(row["bits_per_byte"]) for row in rows], (330, 40))
    speed = lambda row, way: int(row["bytes_in"]) / float(row[f"{way}_s"]) / 1e3
    out = []
    for way, left in (("compress", 70), ("decompress", 530)):
        axis = Axis([speed(row, way) for row in rows], (left, left + 380), log=True)
        size = int(rows[0]["bytes_in"])
        out += frame(axis, bits, f"{way}: KB/s, wall clock", None, f"{way}, {size:,} bytes of {rows[0]['file'].split('.')[0]}")
        points = []
        for row in rows:
            kind = "own" if row["program"] == "llmzip" else "peer"
            points.append((axis.at(speed(row, way)), bits.at(float(row["bits_per_byte"])), short(row["command"]), kind))
        out += [f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y, _, kind in points]
        out += labels(points, axis.pixels)
    return 930, 390, out


def chunk_ratio(rows):
    lines = {}
    for row in rows:
        lines.setdefault((row["model"], row["level"]), {})[min(int(row["chunk_size"]), int(row["bytes_in"]))] = row
    sizes = sorted({size for line in lines.values() for size in line})
    words = {size: f"{size // 1024}K" if size % 1024 == 0 else f"{size:,}" for size in sizes}
    x_axis = Axis(sizes, (70, 540), log=True)
    y_axis = Axis([float(row["bits_per_byte"]) for line in lines.values() for row in line.values()], (330, 40))
    title = f"{int(rows[0]['bytes_in']):,} bytes of {rows[0]['file'].split('.')[0]}"
    out = frame(x_axis, y_axis, "chunk size, bytes (logarithmic)", words, title)
    several = len({model for model, _ in lines}) > 1
    for (model, level), line in sorted(lines.items(), key=lambda item: (item[0][0], item[0][1])):
        points = [(x_axis.at(size), y_axis.at(float(row["bits_per_byte"]))) for size, row in sorted(line.items())]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        out.append(f'<polyline class="line own" style="fill: none" points="{path}"/>')
        out += [f'<circle class="own" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in points]
        out.append(text(560, points[-1][1] + 4, f"level {level}" + (f", {model[:8]}" if several else ""), "strong"))
    return 680, 390, out


def main():
    plots = {"size-speed": size_speed, "chunk-ratio": chunk_ratio}
    if len(sys.argv) != 3 or sys.argv[1] not in plots:
        sys.exit(__doc__)
    rows = read(sys.argv[2])
    if not rows:
        sys.exit(f"{sys.argv[2]}: no row to plot")
    width, height, body = plots[sys.argv[1]](rows)
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">')
    print(f"<style>{STYLE}</style>", *body, "</svg>", sep="\n")


if __name__ == "__main__":
    main()
