"""The settings of the monitor, and the only reading of the environment."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Self

from otelmon.settings.declared import Declared
from otelmon.settings.owned import (
    OWNED,
    Bodies,
    Database,
    Demo,
    Limits,
    Redis,
    Sessions,
    Static,
    owned_in,
    unfit,
    use,
)
from otelmon.settings.resource import service_attributes
from otelmon.settings.variables import (
    names,
    nearest,
    set_in,
    variables,
    warn_of_unknown,
    warn_once,
)


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


_OWN_PREFIXES: Final = ("OTELMON_", "ALERT_")


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings(Declared):
    """What `monitor` and all under it go by: checked, immutable, with defaults for everything.

    `Settings.from_env(monitoring_interval=5)` sets some in code and takes the rest from the
    environment. `Settings(monitoring_interval=5)` takes defaults for the rest, whatever the
    environment says; only what has no field (DB_*, RATE_LIMIT, SESSION_*, REDIS_URL ...) is read
    from there. Both raise ConfigError with all problems at once.
    """

    # The text of the variables that the application may own, by name, only those that are set.
    owned: Mapping[str, str] = field(
        default_factory=lambda: owned_in(os.environ), repr=False, hash=False
    )
    # Whether the environment was asked for what the code does not give.
    _read: bool = field(default=False, repr=False, compare=False)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Self:  # noqa: ANN401 - of each field's own type, judged here
        """Return the settings of *environ*, the process's own by default; *overrides* go before.

        These are fields, as in `from_env(monitoring_interval=5)`; `owned={"RATE_LIMIT": "5/minute"}`
        sets variables that have no field. Raises ConfigError with all problems, of variables and
        overrides. Where OTELMON_DISABLED is true nothing else is judged: it must work when the rest
        is broken.
        """
        if environ is None:
            environ = os.environ
        owned = owned_in(environ)
        given = overrides.pop("owned", {})
        if overrides.get("disabled", _is_disabled(environ)) is True:
            return cls(disabled=True, owned=owned, _read=True)
        warn_of_unknown(environ, _OWN_PREFIXES, names(Settings, *OWNED))
        problems = [*unfit(given), *_unknown(overrides)]
        found = cls.read({**environ, **service_attributes(environ)}, overrides, problems)
        return replace(found, owned={**owned, **given}, _read=True)

    def unfit(self) -> Iterable[str]:
        """Return what is wrong with `owned`, which is no variable but many."""
        return unfit(self.owned)

    def warn_of_unheeded(self) -> None:
        """Warn once of the variables that are set and that settings made in code left aside."""
        if self._read or self.disabled:
            return
        environ = {**os.environ, **service_attributes(os.environ)}
        unheeded = {
            (declared.found(environ) or "").partition("[")[0]
            for name, declared in variables(Settings).items()
            # What the code gives goes before the environment in any case.
            if getattr(self, name) == declared.default
            and not declared.follows(environ, declared.default)
        }
        if unheeded:
            warn_once(
                f"{', '.join(sorted(unheeded))}: set in the environment, but not in force, as "
                "Settings(...) reads none of its fields from there. Give Settings.from_env(...), "
                "which takes the same arguments and reads all others."
            )

    def excluded(self) -> re.Pattern[str] | None:
        """Return what to search a path for to learn that it is kept out; None where nothing is.

        `/static` of OTELMON_EXCLUDED_PATHS means that path and all below it, never `/statics`;
        `/static/` only what is below. The regular expressions go first and are joined as
        OpenTelemetry joins them, so that a flag like `(?i)` stays at the start.
        """
        begins = (
            rf"\A{re.escape(path)}" + ("" if path.endswith("/") else r"(?:/|\Z)")
            for path in self.excluded_paths
        )
        alternatives = [*self.excluded_urls, *begins]
        return re.compile("|".join(alternatives)) if alternatives else None

    @property
    def exports_otlp(self) -> bool:
        """Whether metrics are pushed: OTEL_METRICS_EXPORTER decides, if unset a known endpoint."""
        wanted = "otlp" in self.metrics_exporters if self.metrics_exporters else self.otlp_endpoint
        return bool(wanted) and not self.sdk_disabled

    def database(self) -> Database:
        """Return the DB_* settings; ConfigError if they cannot be used."""
        return use(Database, self.owned)

    def bodies(self) -> Bodies:
        """Return MAX_CONTENT_LENGTH; ConfigError as above."""
        return use(Bodies, self.owned)

    def limits(self) -> Limits:
        """Return RATE_LIMIT and TRUSTED_PROXIES; ConfigError as above."""
        return use(Limits, self.owned)

    def sessions(self) -> Sessions:
        """Return the SESSION_* settings; ConfigError as above."""
        return use(Sessions, self.owned)

    def static(self) -> Static:
        """Return the STATIC_* settings; ConfigError as above."""
        return use(Static, self.owned)

    def redis(self) -> Redis:
        """Return REDIS_URL; ConfigError as above."""
        return use(Redis, self.owned)

    def demo(self) -> Demo:
        """Return DATABASE_URL, as the demo reads it; ConfigError as above."""
        return use(Demo, self.owned)


def _unknown(fields: Iterable[str]) -> Iterable[str]:
    """Yield a sentence for each of *fields* that there is not; for what has none, how to give it."""
    known, owned = variables(Settings), [name.lower() for name in names(*OWNED)]
    for name in fields:
        if name not in known:
            like = nearest(name, [*known, *owned])
            way = f"owned={{{like.upper()!r}: ...}}" if like in owned else like
            yield f"{name!a} is no setting; the nearest known one is {way}."


def _is_disabled(environ: Mapping[str, str]) -> bool:
    try:
        return variables(Settings)["disabled"].value(environ.get("OTELMON_DISABLED", "")) is True
    except (ValueError, LookupError):
        return False  # unset, or refused together with all others


def is_set(name: str) -> bool:
    """Return whether the environment of this process has a value for a variable."""
    return bool(set_in(os.environ, [name]))
