"""The registry: every plugin that is installed, and what it offers. First-party plugins come in by the same door."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from cfbench import hookspecs
from cfbench.errors import PluginError
from cfbench.specs import (
    AttributionSpec,
    CommandSpec,
    DatasetSpec,
    ExecutorSpec,
    FigureSpec,
    GeneratorSpec,
    JudgeSpec,
    MetricSpec,
    Spec,
)

#: Kind of offer (and section of a suite) to the type that its hook yields.
KINDS: Mapping[str, type[Any]] = {
    "datasets": DatasetSpec,
    "generators": GeneratorSpec,
    "attributions": AttributionSpec,
    "judges": JudgeSpec,
    "metrics": MetricSpec,
    "figures": FigureSpec,
    "executors": ExecutorSpec,
    "commands": CommandSpec,
}
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class Offer:
    """One spec, and where it comes from."""

    kind: str
    spec: Any
    plugin: str
    distribution: str
    version: str


@dataclass(frozen=True)
class Registry:
    """What is installed."""

    manager: pluggy.PluginManager
    offers: Mapping[str, Mapping[str, Offer]]
    disabled: tuple[str, ...] = ()

    def find(self, kind: str, name: str) -> Any:
        """Return a spec. Raises PluginError with the nearest names if there is none."""
        try:
            return self.offers[kind][name].spec
        except KeyError:
            known = sorted(self.offers[kind])
            raise PluginError(f"no {kind[:-1]} is called {name!r}{did_you_mean(name, known)}") from None

    def barred(self) -> dict[str, str]:
        """Return metric to the reason why its numbers are not ranked, of the versions that are installed."""
        verdicts = [verdict for found in self.manager.hook.cfbench_verdicts() for verdict in found]
        metrics = self.offers["metrics"]
        current = [v for v in verdicts if v.metric in metrics and metrics[v.metric].spec.version == v.version]
        return {v.metric: v.barred for v in current if v.barred}

    def notify(self, hook: str, report: Callable[[str], None], **event: Any) -> None:
        """Call a watching hook, one implementation at a time: one that raises is reported, the others still hear."""
        for impl in getattr(self.manager.hook, hook).get_hookimpls():
            try:
                impl.function(*(event[name] for name in impl.argnames))
            except Exception as error:  # noqa: BLE001 - whatever a watcher does, the run goes on
                report(f"plugin {impl.plugin_name!r} failed in {hook}: {error!r}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint at the nearest known names."""
    names = list(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else f" (known: {', '.join(names) or 'none'})"


def resolve(factory: str) -> Any:
    """Import `package.module:Name`. Raises PluginError if it is not there."""
    module, _, name = factory.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise PluginError(f"{factory} cannot be imported: {error}") from error


def load(disabled: Sequence[str] = ()) -> Registry:
    """Import the light half of every installed plugin but the disabled ones, and collect what they offer."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    found: dict[str, tuple[str, str]] = {}
    problems = []
    for entry in sorted(entry_points(group=hookspecs.PROJECT), key=lambda entry: entry.name):
        if entry.name in disabled or entry.name in found:
            continue
        found[entry.name] = _origin(entry)
        try:
            manager.register(entry.load(), name=entry.name)
        except Exception as error:  # noqa: BLE001 - a stranger's module may raise anything
            problems.append(_broken(entry.name, found[entry.name][0], error))
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        problems.append(f"{error} (a misspelt hook?)")
    if problems:
        raise PluginError("\n".join(problems))
    return Registry(manager, _collect(manager, found), tuple(disabled))


def _origin(entry: EntryPoint) -> tuple[str, str]:
    return (entry.dist.name, entry.dist.version) if entry.dist else ("unknown", "")


def _broken(plugin: str, distribution: str, error: Exception) -> str:
    return (
        f"plugin {plugin!r} of distribution {distribution!r} cannot be loaded: {error!r}; mend it, or go without it "
        f"by `cfbench -p no:{plugin} ...`"
    )


def _collect(manager: pluggy.PluginManager, found: Mapping[str, tuple[str, str]]) -> dict[str, dict[str, Offer]]:
    offers: dict[str, dict[str, Offer]] = {kind: {} for kind in KINDS}
    for kind in KINDS:
        for impl in getattr(manager.hook, f"cfbench_{kind}").get_hookimpls():
            distribution, version = found.get(impl.plugin_name, ("unknown", ""))
            for spec in _call_offer(impl, kind, distribution):
                _check(kind, spec, impl.plugin_name)
                other = offers[kind].get(spec.name)
                if other:
                    both = f"{other.plugin!r} ({other.distribution}) and {impl.plugin_name!r} ({distribution})"
                    raise PluginError(f"{kind[:-1]} {spec.name!r} is offered twice, by plugins {both}")
                offers[kind][spec.name] = Offer(kind, spec, impl.plugin_name, distribution, version)
    return {kind: dict(sorted(of_kind.items())) for kind, of_kind in offers.items()}


def _call_offer(impl: pluggy.HookImpl, kind: str, distribution: str) -> Sequence[Any]:
    try:
        offered: Sequence[Any] = list(impl.function())  # type: ignore[call-overload]
    except Exception as error:
        message = _broken(impl.plugin_name, distribution, error)
        raise PluginError(f"cfbench_{kind}() raised: {message}") from error
    return offered


def _check(kind: str, spec: Any, plugin: str) -> None:
    where = f"plugin {plugin!r}: an offer of cfbench_{kind}"
    if not isinstance(spec, KINDS[kind]):
        raise PluginError(f"{where} is a {type(spec).__name__}; expected a {KINDS[kind].__name__}")
    if not _NAME.fullmatch(spec.name):
        raise PluginError(f"{where} is called {spec.name!r}; a name is lower-case letters, digits and hyphens")
    if not _FACTORY.fullmatch(spec.factory):
        raise PluginError(f"{where}, {spec.name!r}, has factory {spec.factory!r}; expected 'package.module:Name'")
    if isinstance(spec, Spec):
        _check_params(where, spec)
    if isinstance(spec, MetricSpec) and "perturbed" in spec.needs:
        _check_perturbed(where, spec)


def _check_perturbed(where: str, spec: MetricSpec) -> None:
    """Raise PluginError where answers under noise cannot be made, or would not be of the view's lines."""
    if not hasattr(spec.params(), "sigma"):
        raise PluginError(f"{where}, {spec.name!r}, needs 'perturbed', but has no parameter 'sigma'")
    strange = sorted(set(spec.views) - {"counterfactual", "sweep", "walk", "map"})
    if strange:
        raise PluginError(f"{where}, {spec.name!r}, needs 'perturbed', which the views {strange} do not have")


def _check_params(where: str, spec: Spec) -> None:
    params = spec.params
    if not (is_dataclass(params) and params.__dataclass_params__.frozen):  # type: ignore[attr-defined]
        raise PluginError(f"{where}, {spec.name!r}: params must be a frozen dataclass, not {params!r}")
    names = {f.name for f in fields(params)}
    bare = [f.name for f in fields(params) if f.default is MISSING and f.default_factory is MISSING]
    if bare:
        raise PluginError(f"{where}, {spec.name!r}: parameters without a default: {', '.join(bare)}")
    for preset, values in spec.presets.items():
        unknown = sorted(set(values) - names)
        if unknown:
            raise PluginError(f"{where}, {spec.name!r}: preset {preset!r} sets unknown parameters {unknown}")
