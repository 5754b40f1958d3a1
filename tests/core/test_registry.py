import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest

from cfbench import registry
from cfbench.errors import PluginError
from cfbench.hookspecs import hookimpl
from cfbench.specs import GeneratorSpec, MetricSpec, NoParams, param


def module_offering(*specs):
    module = ModuleType("stranger")
    module.cfbench_generators = hookimpl(lambda: list(specs))
    return module


def spec(**changes):
    values = {"name": "mine", "factory": "mine:Mine", "summary": "", "provides": frozenset({"latent"})}
    return GeneratorSpec(**{**values, **changes})


@pytest.fixture
def plugged(monkeypatch):
    """Pretend that a distribution with one more plugin is installed."""
    real = registry.entry_points

    def plug(module, name="stranger"):
        sys.modules[name] = module
        monkeypatch.setattr(
            registry, "entry_points", lambda group: [*real(group=group), EntryPoint(name, name, "cfbench")]
        )
        return lambda: registry.load(["mlflow"])

    yield plug
    sys.modules.pop("stranger", None)


def test_first_party_plugins_come_by_entry_points():
    offers = registry.load(["mlflow"]).offers
    assert {"dae", "pca"} <= set(offers["generators"])
    assert offers["generators"]["dae"].distribution == "cfbench"


def test_a_strangers_plugin_is_found(plugged):
    found = plugged(module_offering(spec()))()
    assert found.offers["generators"]["mine"].plugin == "stranger"


def test_a_plugin_can_be_left_out_before_it_is_imported(monkeypatch):
    assert "pca" not in registry.load(["mlflow", "pca"]).offers["generators"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "dae"}, "offered twice"),
        ({"name": "Mine!"}, "lower-case"),
        ({"factory": "mine"}, "package.module:Name"),
        ({"params": dict}, "frozen dataclass"),
        ({"presets": {"fast": {"speed": 1}}}, "unknown parameters"),
    ],
)
def test_a_bad_offer_is_named(plugged, change, words):
    with pytest.raises(PluginError, match=words):
        plugged(module_offering(spec(**change)))()


def test_params_need_defaults(plugged):
    @dataclass(frozen=True)
    class Bare:
        size: int

    with pytest.raises(PluginError, match="without a default: size"):
        plugged(module_offering(spec(params=Bare)))()


def test_a_wrong_type_a_raising_hook_and_a_misspelt_hook(plugged):
    with pytest.raises(PluginError, match="expected a GeneratorSpec"):
        plugged(module_offering("dae"))()
    broken = ModuleType("stranger")
    broken.cfbench_generators = hookimpl(lambda: 1 / 0)
    with pytest.raises(PluginError, match="no:stranger"):
        plugged(broken)()
    misspelt = ModuleType("stranger")
    misspelt.cfbench_generatorz = hookimpl(lambda: [])  # noqa: PIE807 - a hook needs a function
    with pytest.raises(PluginError, match="misspelt"):
        plugged(misspelt)()


def test_a_plugin_that_cannot_be_imported_names_its_way_out(monkeypatch):
    real = registry.entry_points
    entry = EntryPoint("lost", "no_such_module_anywhere", "cfbench")
    monkeypatch.setattr(registry, "entry_points", lambda group: [*real(group=group), entry])
    with pytest.raises(PluginError, match="no:lost"):
        registry.load(["mlflow"])
    assert registry.load(["mlflow", "lost"]).offers["generators"]


def test_a_raising_watcher_is_reported_and_the_others_still_hear(plugged):
    heard, told = [], []
    module = ModuleType("stranger")
    module.cfbench_run_finished = hookimpl(lambda records, folder: 1 / 0)
    found = plugged(module)()
    listener = ModuleType("listener")
    listener.cfbench_run_finished = hookimpl(lambda records: heard.append(records))  # noqa: PLW0108 - named argument
    found.manager.register(listener)
    found.notify("cfbench_run_finished", told.append, records=[1], folder=None)
    assert heard == [[1]]
    assert len(told) == 1
    assert "ZeroDivisionError" in told[0]


def test_light_verbs_import_nothing_heavy(tmp_path):
    code = (
        "import sys\nfrom cfbench.cli.main import cli\n"
        "for words in (['--help'], ['plugins'], ['plugins', 'dae'], ['run', '--help']):\n"
        "    try: cli.main(words, standalone_mode=False)\n    except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'pandas', 'mlflow', 'sklearn', 'pytorch_lightning'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr


@dataclass(frozen=True)
class Noisy:
    sigma: float = param(0.1, "how much")


def test_answers_under_noise_need_a_noise_and_lines_that_are_answers(plugged):
    def metric(**changes):
        module = ModuleType("stranger")
        values = {"name": "mine", "factory": "m:M", "summary": "", "kind": "case", "views": ("counterfactual", "map"),
                  "direction": "lower", "needs": frozenset({"perturbed"}), "params": Noisy, **changes}  # fmt: skip
        module.cfbench_metrics = hookimpl(lambda: [MetricSpec(**values)])
        return plugged(module)

    assert "mine" in metric()().offers["metrics"]
    with pytest.raises(PluginError, match="no parameter 'sigma'"):
        metric(params=NoParams)()
    with pytest.raises(PluginError, match=r"the views \['cycle'\] do not have"):
        metric(views=("cycle", "map"))()
