"""S4 as a picture: SVG by hand, a column for each kind of weight, the rate above, the CPU of a step below."""

import math

COLUMNS = (("waiting", "operations scheduled for later"), ("history", "finished tasks kept"), ("pinned", "seconds that a snapshot is pinned"))
ROWS = (("steps_per_s", "steps/s"), ("cpu_us_per_step", "CPU µs a step"))
WIDTH, HEIGHT = 250, 150  # of a panel's inside
LEFT, TOP, GAP_X, GAP_Y = 45, 50, 50, 50
BLUE, GREY, INK = "#1f6fb2", "#dfe5ea", "#333"


def svg(figures):
    """The whole picture from the JSON of a run. ValueError: S4 is not in it."""
    columns = [(name, title) for name, title in COLUMNS if f"S4.{name}_steps_per_s" in figures]
    if not columns:
        raise ValueError("the result has no figures of S4")
    parts = [panel(figures, column, row, at_x, at_y) for at_x, column in enumerate(columns) for at_y, row in enumerate(ROWS)]
    width, height = LEFT + len(columns) * (WIDTH + GAP_X), TOP + len(ROWS) * (HEIGHT + GAP_Y)
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11" fill="{INK}">',
                      f'<rect width="{width}" height="{height}" fill="white"/>', *parts, "</svg>", ""])


def panel(figures, column, row, at_x, at_y):
    """Points by size, on the band of the rounds with nothing else."""
    (name, title), (kind, unit) = column, row
    points = [(float(size), value) for size, value in figures[f"S4.{name}_{kind}"].items()]
    plain, low, high = (figures[f"S4.plain_{kind}{end}"] for end in ("", "_min", "_max"))
    x = along([size for size, _ in points], name != "pinned")
    top = nice_above(max([high, *(value for _, value in points)]))
    place = f'<g transform="translate({LEFT + at_x * (WIDTH + GAP_X)},{TOP + at_y * (HEIGHT + GAP_Y)})">'
    marks = [(x(size), up(value, top)) for size, value in points]
    return "\n".join([place, *band(plain, low, high, top), *axes(unit, top, points, x), *line(marks),
                      *([text(WIDTH / 2, -26, title, weight="bold")] if at_y == 0 else []), "</g>"])


def along(sizes, by_powers):
    """Where a size stands: by its logarithm, or by itself from 0."""
    scale = math.log10 if by_powers else float
    first, last = (scale(min(sizes)) if by_powers else 0.0), scale(max(sizes))
    if first == last:
        return lambda size: WIDTH / 2
    return lambda size: round(15 + (scale(size) - first) / (last - first) * (WIDTH - 30), 1)


def up(value, top):
    return round(HEIGHT - value / top * HEIGHT, 1)


def nice_above(value):
    """The next of 1, 2, 2.5, 4, 5, 8, 10 times a power of ten."""
    power = 10 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 4, 5, 8, 10) if step * power >= value)


def short(number):
    for size, letter in ((1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:g}{letter}"
    return f"{number:g}"


def band(plain, low, high, top):
    height = round(up(low, top) - up(high, top), 1)
    return [f'<rect x="0" y="{up(high, top)}" width="{WIDTH}" height="{height}" fill="{GREY}"/>',
            f'<line x1="0" x2="{WIDTH}" y1="{up(plain, top)}" y2="{up(plain, top)}" stroke="{INK}" stroke-dasharray="4 3"/>']


def axes(unit, top, points, x):
    lines = [f'<rect width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="{INK}" stroke-width="0.6"/>', text(0, -6, unit, anchor="start")]
    lines += [text(-6, up(top * part, top) + 4, short(top * part), anchor="end") for part in (0, 0.5, 1)]
    ticks = points if len(points) < 6 else [points[0], points[len(points) // 2], points[-1]]
    return lines + [text(x(size), HEIGHT + 15, short(size)) for size, _ in ticks]


def line(marks):
    way = " ".join(f"{x},{y}" for x, y in marks)
    return [f'<polyline points="{way}" fill="none" stroke="{BLUE}"/>', *(f'<circle cx="{x}" cy="{y}" r="3" fill="{BLUE}"/>' for x, y in marks)]


def text(x, y, words, anchor="middle", weight="normal"):
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-weight="{weight}">{words}</text>'
