"""Generated parts of jaxq/README.md: the tables that the library checks against."""

import itertools

from jaxq.config import compatibility, field_usage


def compatibility_rules() -> str:
    """The compatibility rules, grouped by condition and reason."""
    lines = ["| for | these fields must be | because |", "| --- | --- | --- |"]
    grouped = itertools.groupby(
        compatibility.RULES, key=lambda rule: (rule.when.name, rule.reason)
    )
    for (condition, reason), rules in grouped:
        fields = "; ".join(
            f"`{rule.field}` {' or '.join(f'`{value}`' for value in rule.allowed)}"
            for rule in rules
        )
        lines.append(f"| {condition} | {fields} | {reason} |")
    return "\n".join(lines)


def field_readers() -> str:
    """The fields that every part reads."""
    lines = ["| part | fields |", "| --- | --- |"]
    for usage in field_usage.USAGE:
        lines.append(f"| {usage.part} | {', '.join(f'`{f}`' for f in usage.fields)} |")
    return "\n".join(lines)
