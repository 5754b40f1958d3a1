"""cfbench: an honest benchmark for counterfactual explanations in medical imaging."""

__version__ = "0.1.0"
