"""The table of a run, as text and as Markdown."""

from collections import defaultdict

HEADINGS = ["fault", "hit", "operations", "repeated", "violations", "recovery s"]
GROUPS = {"points": "Crash points", "processes": "Processes", "database": "PostgreSQL", "broker": "Apache Kafka", "input": "Input", "time": "Time",
          "promises": "Promises to be shown"}


def merged(outcomes):
    """One row for each fault, its seeds taken together: {fault name: (fault, hits, operations, repeated, violations, recovery, skipped, outcomes)}."""
    by_name = defaultdict(list)
    for outcome in outcomes:
        by_name[outcome.fault.name].append(outcome)
    return by_name


def cells(several):
    fault = several[0].fault
    if all(outcome.skipped for outcome in several):
        return [fault.what, "not done: " + several[0].skipped, "", "", "", ""]
    ran = [outcome for outcome in several if not outcome.skipped]
    recovery = max(outcome.recovery for outcome in ran)
    return [fault.what, str(sum(o.hits for o in ran)), str(sum(o.operations for o in ran)), str(sum(o.repeated for o in ran)),
            str(sum(len(o.violations) for o in ran)), "never" if recovery == float("inf") else f"{recovery:.1f}" if recovery else "-"]


def rows(outcomes):
    return {name: cells(several) for name, several in merged(outcomes).items()}


def as_text(outcomes):
    table = [(name, *line[1:]) for name, line in rows(outcomes).items()]
    widths = [max(len(str(row[n])) for row in [HEADINGS, *table]) for n in range(len(HEADINGS))]
    return "\n".join("  ".join(str(cell).ljust(width) for cell, width in zip(row, widths)).rstrip() for row in [HEADINGS, *table])


def as_markdown(outcomes):
    parts = []
    by_group = defaultdict(list)
    for name, several in merged(outcomes).items():
        by_group[several[0].fault.group].append((name, several))
    for group, title in GROUPS.items():
        if by_group[group]:
            parts.append(f"### {title}\n\n| name | what | hit | operations | repeated | violations | recovery s |\n|---|---|---|---|---|---|---|")
            parts += [f"| `{name}` | " + " | ".join(cells(several)) + " |" for name, several in by_group[group]]
            parts.append("")
    return "\n".join(parts)


def problems(outcomes):
    """What was wrong, with ids, a line each."""
    lines = []
    for outcome in outcomes:
        if not outcome.failed:
            continue
        lines.append(f"{outcome.fault.name} (seed {outcome.seed}): logs in {outcome.directory}")
        if outcome.hits < outcome.fault.wanted:
            lines.append(f"  hit {outcome.hits} times, wanted {outcome.fault.wanted}")
        lines += [f"  {v.promise}: {v.text} {' '.join(map(str, v.ids[:5]))}" for v in outcome.violations[:20]]
        if len(outcome.violations) > 20:
            lines.append(f"  … and {len(outcome.violations) - 20} more")
    return lines
