"""The alerts' rules that the application has added, in this process.

They are added by its code, before a fork or after it, so every process of a server has the same
ones, and whichever is the keeper judges by them.
"""

from __future__ import annotations

from typing import Final

from otelmon.alerts import built_in
from otelmon.alerts.rules import Rule
from otelmon.errors import ConfigError
from otelmon.settings.text import shown


MOST: Final = 64
"""So many have room on the board, with a few sentences each; see `room`"""

_rules: dict[str, Rule] = {}


def add_rule(rule: Rule) -> None:
    """Judge *rule* beside the built-in ones; it replaces an earlier rule with its id.

    Call it where the application is set up, in every process alike: the keeper, whichever process
    that is, judges the rules that it knows, and resolves an alert whose rule it does not know. It
    calls a rule's own *value* in a thread beside its own, and waits two seconds for all of them.

    Raises:
        ConfigError: a built-in rule has that id, there are 64 already, or it is no rule.
    """
    if not isinstance(rule, Rule):
        raise ConfigError(f"rule is {shown(rule)}: give a Rule, as in add_rule(Rule(...)).")
    if rule.id in built_in.IDS:
        raise ConfigError(
            f"The rule {rule.id!r} is built in: give yours another id; the thresholds of the "
            "built-in ones are settings."
        )
    if rule.id not in _rules and len(_rules) >= MOST:
        raise ConfigError(f"There are {MOST} rules already: drop one for {rule.id!r}.")
    _rules[rule.id] = rule


def rules() -> list[Rule]:
    """Return those that were added so far."""
    return list(_rules.values())


def forget() -> None:
    """Have none, as a new process."""
    _rules.clear()
