"""Recall against queries a second as an SVG, written by hand: no library, no script, readable as it is and in print."""

import math
from html import escape

WIDTH, HEIGHT = 960, 600
LEFT, RIGHT, TOP, BOTTOM = 80, 230, 56, 64
RECALL_TICKS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
# Told apart by most eyes, on paper too; the first is ours.
COLOURS = (
    "#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2",
    "#7f7f7f", "#bcbd22", "#003f5c", "#66a61e", "#a6761d", "#7570b3", "#e7298a", "#1b9e77",
)  # fmt: skip
LABEL_STEP = 17


def svg(title: str, curves: dict[str, list[tuple[float, float]]]) -> str:
    """`curves`: a name and its points (recall, queries a second). Up and right is better."""
    curves = {name: sorted(points) for name, points in curves.items() if points}
    rates = [rate for points in curves.values() for _, rate in points]
    misses = [miss(recall) for points in curves.values() for recall, _ in points]
    if not rates:
        return frame(title, [])
    low, high = math.log10(min(rates)), math.log10(max(rates))
    low, high = low - 0.05 * (high - low + 0.1), high + 0.05 * (high - low + 0.1)
    first, last = math.log10(max(misses)), math.log10(min(misses))

    def x(recall: float) -> float:
        share = (first - math.log10(miss(recall))) / ((first - last) or 1)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(rate: float) -> float:
        return HEIGHT - BOTTOM - (math.log10(rate) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    shapes = [*recall_axis(x, 10**first, 10**last), *rate_axis(y, low, high)]
    ends = []
    for at, (name, points) in enumerate(curves.items()):
        colour = COLOURS[at % len(COLOURS)]
        dashes = ' stroke-dasharray="6 3"' if at >= len(COLOURS) else ""
        path = " ".join(f"{x(recall):.1f},{y(rate):.1f}" for recall, rate in points)
        thick = 3 if at == 0 else 1.75
        shapes.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{thick}"{dashes}/>')
        for recall, rate in points:
            hint = f"<title>{escape(name)}: recall {recall:.4f}, {rate:,.0f} a second</title>"
            shapes.append(f'<circle cx="{x(recall):.1f}" cy="{y(rate):.1f}" r="{thick + 0.75}" fill="{colour}">{hint}</circle>')
        ends.append((y(points[-1][1]), x(points[-1][0]), name, colour))
    return frame(title, shapes + labels(ends))


def miss(recall: float) -> float:
    """The axis of recall is that of what is missed, so that 0.99 and 0.999 are as far apart as 0.9 and 0.99."""
    return min(max(1 - recall, 4e-4), 1.0)


def recall_axis(x: object, most: float, least: float) -> list[str]:
    shapes, bottom = [], HEIGHT - BOTTOM
    for tick in RECALL_TICKS:
        if not least * 0.999 <= 1 - tick <= most * 1.001:
            continue
        at = x(tick)
        shapes.append(f'<line x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{bottom}" stroke="#ddd"/>')
        shapes.append(f'<text x="{at:.1f}" y="{bottom + 20}" text-anchor="middle">{tick:g}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    shapes.append(f'<text x="{middle}" y="{HEIGHT - 16}" text-anchor="middle">recall@10 (what is missed, logarithmic)</text>')
    return shapes


def rate_axis(y: object, low: float, high: float) -> list[str]:
    shapes = []
    for exponent in range(math.floor(low), math.ceil(high) + 1):
        for digit in (1, 2, 5):
            rate = digit * 10.0**exponent
            if low <= math.log10(rate) <= high:
                at = y(rate)
                shapes.append(f'<line x1="{LEFT}" y1="{at:.1f}" x2="{WIDTH - RIGHT}" y2="{at:.1f}" stroke="#ddd"/>')
                shapes.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{rate:,.0f}</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    shapes.append(
        f'<text transform="translate(18 {middle}) rotate(-90)" text-anchor="middle">queries a second, one core (logarithmic)</text>'
    )
    return shapes


def labels(ends: list[tuple[float, float, str, str]]) -> list[str]:
    """A name for each curve at the right, level with its end where there is room, with a thin line to it."""
    shapes = []
    ends = sorted(ends)
    room = max(HEIGHT - BOTTOM - LABEL_STEP * len(ends), TOP - 20)
    at = -math.inf
    for place, (end_y, end_x, name, colour) in enumerate(ends):
        at = max(min(end_y, room + LABEL_STEP * (place + 1)), at + LABEL_STEP, TOP)
        edge = WIDTH - RIGHT + 14
        shapes.append(
            f'<polyline points="{end_x + 5:.1f},{end_y:.1f} {edge - 2},{at:.1f}" fill="none" stroke="{colour}" stroke-width="0.6" opacity="0.6"/>'
        )
        shapes.append(f'<text x="{edge + 2}" y="{at + 4:.1f}" fill="{colour}" font-weight="600">{escape(name)}</text>')
    return shapes


def frame(title: str, shapes: list[str]) -> str:
    inner = "\n".join(shapes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="system-ui, sans-serif" font-size="13" fill="#333">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>\n'
        f'<text x="{LEFT}" y="30" font-size="16" font-weight="600">{escape(title)}</text>\n'
        f"{inner}\n</svg>\n"
    )
