"""scale: how lanes, orchestrators and workers share two cores. Not run unless asked for."""

import statistics

from kser_bench.figures import say
from kser_bench.rounds import cpu_of, run_round

SETUPS = {
    "lanes": {number: {"lanes": number} for number in (1, 2, 4)},
    "orchestrators": {number: {"orchestrators": number, "lanes": 1} for number in (1, 2, 3)},
    "workers": {number: {"workers": number} for number in (1, 3, 6)},
}


def scaling(stand, quick):
    """Every setup once in turn, then again, so that all of them meet the same weather."""
    found = {(what, number): [] for what, setups in SETUPS.items() for number in setups}
    for _ in range(2 if quick else 3):
        for what, number in found:
            stand.clear()
            stand.restart(**SETUPS[what][number])
            one = run_round(stand, 5000 if quick else 10000)
            found[what, number].append(one)
            say(f"scale: {number} {what}: {one['rate']:,} steps/s at {cpu_of(one):.1f} µs")
    return summary(found)


def summary(found):
    figures = {}
    for (what, number), rounds in found.items():
        figures.setdefault(f"scale.{what}_steps_per_s", {})[str(number)] = round(statistics.median(one["rate"] for one in rounds))
        figures.setdefault(f"scale.{what}_cpu_us_per_step", {})[str(number)] = round(statistics.median(cpu_of(one) for one in rounds), 1)
    return figures
