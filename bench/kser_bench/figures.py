"""Numbers: percentiles, medians with their spread, histograms, and how they are shown."""

import math
import statistics
import sys
import time

SECTIONS = ("S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10")
FURTHER = ("scale",)
BEGAN = time.monotonic()


def say(text):
    """One line of progress, with the seconds since the start."""
    print(f"{time.monotonic() - BEGAN:7.1f} s  {text}", file=sys.stderr, flush=True)


def sections(text):
    """The set of sections that a list separated by commas names. ValueError: it names one that is none, or nothing."""
    wanted = {name.strip() for name in text.split(",") if name.strip()}
    unknown = wanted - {*SECTIONS, *FURTHER}
    if unknown or not wanted:
        raise ValueError(f"unknown {', '.join(sorted(unknown))}" if unknown else "names no section")
    return wanted


def of_sections(figures, wanted):
    return {key: value for key, value in figures.items() if key.split(".")[0] in wanted}


def percentile(values, share):
    """The smallest value that at least a share (0 to 1) of all values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def spread(key, values, digits=2):
    """Median, least and greatest of what was measured several times, as three figures; 0 digits: integers."""
    found = {key: statistics.median(values), f"{key}_min": min(values), f"{key}_max": max(values)}
    return {name: round(value, digits or None) for name, value in found.items()}


def medians(objects, digits=1):
    """One object of medians from several that have the same keys."""
    return {name: round(statistics.median(each[name] for each in objects), digits) for name in objects[0]}


def buckets_between(before, after):
    """From two cumulative histograms, {upper bound: count}, how many fell into each bucket meanwhile; empty buckets are left out."""
    counts, below = {}, 0
    for bound, count in after.items():
        reached = count - before.get(bound, 0)
        if reached > below:
            counts[bound] = reached - below
        below = reached
    return counts


def shown(key, figures):
    value = figures[key]
    if isinstance(value, dict):
        total = f"  all {round(sum(value.values()), 1)}" if key == "S10.cpu_us_per_step" else ""
        return "  ".join(f"{name}: {number:,}" for name, number in value.items()) + total
    text = f"{value:,}" if isinstance(value, (int, float)) else str(value)
    return f"{text}  ({figures[key + '_min']:,} to {figures[key + '_max']:,})" if key + "_min" in figures else text


def table(figures):
    """For people: a line for each figure, its spread behind it."""
    spreads = {key + end for key in figures for end in ("_min", "_max")}
    return "\n".join(f"{key:<34} {shown(key, figures)}" for key in figures if key not in spreads)
