"""How a dataclass declares the variables it is read from, and how a group of them is judged.

Each field is one declaration: its variable, default, rule and meaning. From it follow the reading
of the environment, the judgement of values given in code, the messages, and what `repr` leaves out.
"""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from otelmon.errors import ConfigError
from otelmon.settings.text import is_blank, shown, value_in


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from otelmon.settings.rules import Rule


log = logging.getLogger("otelmon")

# Names that belong to a standard or to the system. Their owners ask that a bad value is warned
# about and ignored, and other programs read them too, so it is no error of otelmon's set-up.
_STANDARD = ("OTEL_", "XDG_", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Variable:
    """One setting: the names it is read from (the first that is set counts) and its rule."""

    names: tuple[str, ...]
    default: object
    rule: Rule
    about: str

    def found(self, environ: Mapping[str, str]) -> str | None:
        """Return the name under which *environ* sets it, None if it is unset or empty."""
        return next((name for name in self.names if not is_blank(environ.get(name, ""))), None)

    def value(self, text: str) -> object:
        """Return the value of *text*; ValueError or LookupError refuse it."""
        value = self.rule.read(value_in(text, secret=self.rule.secret))
        if not self.rule.holds(value):
            raise ValueError
        return value

    def judged(self, field: str, value: object, problems: list[str]) -> dict[str, Sound]:
        """Return *value*, given in code, by its *field*; or nothing, and add to *problems* why not."""
        if value is self.default or self.rule.holds(value):
            return {field: Sound(field, value)}
        problems.append(self.problem(field, value))
        return {}

    def follows(self, environ: Mapping[str, str], value: object) -> bool:
        """Return whether *value* is what *environ* says, or it says nothing."""
        label = self.found(environ)
        try:
            return label is None or self.value(environ[label]) == value
        except (ValueError, LookupError):
            return False

    def problem(self, label: str, value: object) -> str:
        """Return the sentence that refuses *value*, set under the name *label*."""
        return (
            f"{label} is {self.rule.show(value)}: give {self.rule.says}, "
            f"or unset it{self._fallback()}."
        )

    def _fallback(self) -> str:
        if isinstance(self.default, float):
            return f" for {self.default:.10g}"
        if isinstance(self.default, (int, str)) and self.default != "":
            return f" for {str(self.default).lower()}"
        return ""

    def refuse(self, label: str, text: str, problems: list[str]) -> None:
        """Add to *problems* that *text* cannot be used; of a standard variable only warn."""
        problem = self.problem(label, value_in(text))
        if label.startswith(_STANDARD):
            warn_once(f"{problem} Until then it counts as unset.")
        else:
            problems.append(problem)


def variable(names: str, default: object, rule: Rule, about: str) -> Any:  # noqa: ANN401 - as dataclasses.field
    """Declare a field: the names of its variable (separated by space), default, rule, meaning."""
    declared = Variable(tuple(names.split()), default, rule, about)
    return field(default=default, metadata={"variable": declared}, repr=rule.show is shown)


class Sound(NamedTuple):
    """A value that keeps its own rule, and the name it was given under."""

    label: str
    value: Any


class Group:
    """Settings that are read and judged together; a base for dataclasses of `variable`s."""

    __slots__ = ()

    @staticmethod
    def contradictions(sound: Mapping[str, Sound]) -> list[str]:  # noqa: ARG004 - for groups that have some
        """Return a sentence for each pair of *sound* values (by field) that cannot both stand."""
        return []

    def unfit(self) -> Iterable[str]:
        """Return a sentence for each problem of fields that are no variables."""
        return ()

    def __post_init__(self) -> None:
        """Judge values given in code; ConfigError names the fields."""
        problems = [*self.unfit()]
        sound: dict[str, Sound] = {}
        for name, declared in variables(type(self)).items():
            sound |= declared.judged(name, getattr(self, name), problems)
        _refuse([*problems, *self.contradictions(sound)])

    @classmethod
    def read(
        cls,
        environ: Mapping[str, str],
        given: Mapping[str, object] | None = None,
        problems: Iterable[str] = (),
    ) -> Self:
        """Return the group as *environ* sets it, but for the fields *given* in code.

        ConfigError names the variables and the given fields, beside the *problems* found before.
        """
        problems = [*problems]
        sound: dict[str, Sound] = {}
        for name, declared in variables(cls).items():
            if given and name in given:
                sound |= declared.judged(name, given[name], problems)
                continue
            label = declared.found(environ)
            if label is None:
                sound[name] = Sound(declared.names[0], declared.default)
                continue
            try:
                sound[name] = Sound(label, declared.value(environ[label]))
            except (ValueError, LookupError):
                declared.refuse(label, environ[label], problems)
        _refuse([*problems, *cls.contradictions(sound)])
        return cls(**{name: found.value for name, found in sound.items()})


def nearest(name: str, known: Iterable[str]) -> str:
    """Return which of the *known* names is most like *name*."""
    # Here, because only a name that is wrong is to pay for the import.
    import difflib

    return difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]


def _refuse(problems: list[str]) -> None:
    if problems:
        raise ConfigError(*problems)


def variables(group: type[Any]) -> dict[str, Variable]:
    """Return the variables of a group by field."""
    return {
        declared.name: declared.metadata["variable"]
        for declared in fields(group)
        if "variable" in declared.metadata
    }


def names(*groups: type[Any]) -> list[str]:
    """Return the names of all variables of *groups*."""
    declared = (each for group in groups for each in variables(group).values())
    return [name for each in declared for name in each.names]


def set_in(environ: Mapping[str, str], among: Iterable[str]) -> list[str]:
    """Return which of the names *among* have a value in *environ*."""
    return [name for name in among if not is_blank(environ.get(name, ""))]


def warn_of_unknown(
    environ: Mapping[str, str], prefixes: tuple[str, ...], known: list[str]
) -> None:
    """Warn of each name with one of our *prefixes* that is none of the *known*."""
    unknown = {name for name in environ if name.startswith(prefixes)}.difference(known)
    for name in set_in(environ, sorted(unknown)):
        warn_once(
            f"{name!a} is no variable of otelmon; the nearest known name is {nearest(name, known)}."
        )


@functools.cache
def warn_once(message: str) -> None:
    """Log a warning, once in the life of the process: several parts read the same environment."""
    log.warning("%s", message)
