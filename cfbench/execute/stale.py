"""Results that other code made: found by the digests of plugins' sources, and made again on demand."""

from collections.abc import Iterable, Mapping
from typing import Any

from cfbench.errors import CorruptArtifactError
from cfbench.plan import Plan
from cfbench.registry import Registry
from cfbench.sources import Sources
from cfbench.store import Store


def components_of(payload: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (kind, plugin name) of every component of a step."""
    return [(item["kind"], item["use"]) for item in payload.values() if isinstance(item, Mapping) and "use" in item]


def digests_of(payload: Mapping[str, Any], registry: Registry, sources: Sources) -> dict[str, str]:
    """Return plugin name to the digest of its code, for the components of a step."""
    return {use: sources.digest(registry.find(kind, use).factory) for kind, use in components_of(payload)}


def stale_plugins(plan: Plan, store: Store, registry: Registry) -> dict[str, tuple[str, ...]]:
    """Return key of a step, stored or to be made, to the plugins whose code has changed since what it stands on."""
    sources = Sources()
    stale: dict[str, tuple[str, ...]] = {}
    for key, step in plan.steps.items():  # inputs come first
        changed = [use for k in step.inputs.values() for use in stale.get(k, ())]
        now = digests_of(step.payload, registry, sources)  # of steps to be made as well: workers find it remembered
        if store.has(key):
            try:
                made_by = store.meta(key).get("sources", {})
            except CorruptArtifactError:
                continue
            changed += [use for use, digest in made_by.items() if now.get(use, digest) != digest]
        if changed:
            stale[key] = tuple(sorted(set(changed)))
    sources.remember()
    return stale


def forget(plan: Plan, store: Store, plugins: Iterable[str]) -> int:
    """Remove the stored results of these plugins, and of all that stands on them; return how many."""
    names, gone = set(plugins), set[str]()
    for key, step in plan.steps.items():
        mine = names & {use for _, use in components_of(step.payload)}
        if mine or gone & set(step.inputs.values()):
            gone.add(key)
    for key in gone:
        store.drop_scratch(key)
    return sum(store.discard(key) for key in gone)
