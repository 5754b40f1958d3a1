"""Intervals, comparisons and ranks: how far a number could have been off, had other patients been drawn."""

from cfbench.statistics.bootstrap import patient_bootstrap_weights
from cfbench.statistics.bounds import Bounds
from cfbench.statistics.correction import holm
from cfbench.statistics.failures import FULL_COVERAGE, coverage, is_ranked, with_failures
from cfbench.statistics.jackknife import jackknife_interval, jackknife_weights
from cfbench.statistics.mean import interval_of_mean, intervals_of_means
from cfbench.statistics.paired import Difference, paired_difference, paired_differences
from cfbench.statistics.paired_sets import paired_difference_of_sets
from cfbench.statistics.percentile import bca_interval, percentile_interval
from cfbench.statistics.rank import rank_tiers, rank_tiers_of_sets, tiers, tiers_of_differences
from cfbench.statistics.seeds import difference_over_seeds, interval_over_seeds
from cfbench.statistics.seeds_of_sets import difference_of_sets_over_seeds, interval_of_sets_over_seeds

__all__ = [
    "FULL_COVERAGE",
    "Bounds",
    "Difference",
    "bca_interval",
    "coverage",
    "difference_of_sets_over_seeds",
    "difference_over_seeds",
    "holm",
    "interval_of_mean",
    "interval_of_sets_over_seeds",
    "interval_over_seeds",
    "intervals_of_means",
    "is_ranked",
    "jackknife_interval",
    "jackknife_weights",
    "paired_difference",
    "paired_difference_of_sets",
    "paired_differences",
    "patient_bootstrap_weights",
    "percentile_interval",
    "rank_tiers",
    "rank_tiers_of_sets",
    "tiers",
    "tiers_of_differences",
    "with_failures",
]
