"""Generated tables of the library: algorithms, compatibility and fields."""

from typing import Any

from experiments.support.provenance import page_link
from jaxq.config import algorithm_table, aliases, compatibility, usage_table
from jaxq.config.algorithm_entry import Fields
from jaxq.config.rule import Rule
from jaxq.config.tabular_algorithms import TABLE


def algorithm_groups() -> str:
    """The names of all algorithms, in groups."""
    lines = ["| group | algorithms |", "| --- | --- |"]
    for heading, rows in algorithm_table.GROUPS.items():
        lines.append(f"| {heading} | {', '.join(map(page_link, rows))} |")
    return "\n".join(lines)


def components(fields: Fields) -> str:
    """The flags that switch an algorithm's components on."""
    # Every algorithm on a table shares these, and `table` stands for them.
    table = TABLE if "network" in fields else {}
    words = [
        f"`{flag(field, value)}`"
        for field, value in fields.items()
        if (field, value) not in table.items()
    ]
    return ", ".join(["a table", *words] if table else words)


def flag(field: str, value: Any) -> str:
    """A field as typed on the command line."""
    name = aliases.flag(field)
    if isinstance(value, bool):
        return name if value else name.replace("--", "--no-", 1)
    words = value if isinstance(value, tuple) else (value,)
    return " ".join([name, *(str(word).removesuffix(".0") for word in words)])


def compatibility_rules() -> str:
    """The compatibility rules, grouped by condition and reason."""
    lines = ["| for | these fields must be | because |", "| --- | --- | --- |"]
    grouped: dict[tuple[str, str], list[Rule]] = {}
    for rule in compatibility.RULES:
        grouped.setdefault((rule.when.name, rule.reason), []).append(rule)
    for (condition, reason), rules in grouped.items():
        fields = "; ".join(
            f"`{rule.field}` {' or '.join(f'`{value}`' for value in rule.allowed)}"
            for rule in rules
        )
        lines.append(f"| {condition} | {fields} | {reason} |")
    return "\n".join(lines)


def field_readers() -> str:
    """The fields that every part reads."""
    lines = ["| part | fields |", "| --- | --- |"]
    for usage in usage_table.USAGE:
        lines.append(f"| {usage.part} | {', '.join(f'`{f}`' for f in usage.fields)} |")
    return "\n".join(lines)
