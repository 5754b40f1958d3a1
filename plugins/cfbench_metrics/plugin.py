"""Offer the metrics. Formulas, sources, ranges and traps are in the docstrings of the modules that factories name."""

from collections.abc import Iterable

from cfbench.hookspecs import hookimpl
from cfbench.specs import MetricSpec, ViewName
from cfbench_metrics.weights import ALEXNET, INCEPTION

_IMAGES: tuple[ViewName, ...] = ("reconstruction", "reconstruction-random", "counterfactual")
#: Views that can be compared with real images as a set.
_SETS: tuple[ViewName, ...] = (*_IMAGES, "sample")

_LPIPS = "Zhang et al., The unreasonable effectiveness of deep features as a perceptual metric, CVPR 2018"
_MS_SSIM = "Wang, Simoncelli and Bovik, Multiscale structural similarity, Asilomar 2003"
_S0 = "Atad et al., Counterfactual explanations for medical image classification and regression, MELBA 2024"
_FID = "Heusel et al., GANs trained by a two time-scale update rule, NeurIPS 2017"
_KID = "Binkowski et al., Demystifying MMD GANs, ICLR 2018"

#: No pair of images is further apart: activations are not negative and have unit length, so a layer gives at most the
#: sum of its two largest weights.
LPIPS_MAXIMUM = 7.734


@hookimpl
def cfbench_metrics() -> Iterable[MetricSpec]:
    """Offer all metrics."""
    yield from _detection()
    yield from _grading()
    yield from _similarity()
    yield from _perceptual()
    yield from _sets()
    yield from _explanations()


def _detection() -> Iterable[MetricSpec]:
    yield MetricSpec(
        name="auc",
        factory="cfbench_metrics.auc:auc",
        summary="area under the ROC curve of the method's own scores",
        citation="Hanley and McNeil, The meaning and use of the area under a ROC curve, Radiology 1982",
        kind="set",
        views=("probe",),
        direction="higher",
        range=(0, 1),
        minimum=10,
        needs=frozenset({"score"}),
    )
    yield MetricSpec(
        name="auc-hard",
        factory="cfbench_metrics.auc:auc_hard",
        summary="AUC of 0/1 decisions at score 0, which is balanced accuracy: what the papers call AUC",
        citation=_S0,
        kind="set",
        views=("probe",),
        direction="higher",
        range=(0, 1),
        minimum=10,
        needs=frozenset({"score"}),
    )
    yield MetricSpec(
        name="f1",
        factory="cfbench_metrics.f1:f1",
        summary="F1 of the positive class, decided at score 0",
        citation="van Rijsbergen, Information Retrieval, 1979",
        kind="set",
        views=("probe",),
        direction="higher",
        range=(0, 1),
        minimum=10,
        needs=frozenset({"score"}),
    )


def _grading() -> Iterable[MetricSpec]:
    yield MetricSpec(
        name="mae",
        factory="cfbench_metrics.mae:mae",
        summary="mean absolute error of the method's continuous grade",
        citation=_S0,
        kind="case",
        views=("probe",),
        direction="lower",
        unit="grades",
        range=(0, None),
        needs=frozenset({"grade"}),
    )
    yield MetricSpec(
        name="macro-f1",
        factory="cfbench_metrics.macro_f1:macro_f1",
        summary="F1 of rounded, clipped grades, averaged over the grades that occur and are not excluded",
        citation=_S0,
        kind="set",
        views=("probe",),
        direction="higher",
        range=(0, 1),
        minimum=10,
        needs=frozenset({"grade"}),
    )


def _similarity() -> Iterable[MetricSpec]:
    yield MetricSpec(
        name="l1",
        factory="cfbench_metrics.l1:l1",
        summary="mean absolute difference of the two images in [0, 1]",
        kind="case",
        views=_IMAGES,
        direction="lower",
        range=(0, 1),
        worst=1,
    )
    yield MetricSpec(
        name="ssim",
        factory="cfbench_metrics.ssim:ssim",
        summary="structural similarity: Gaussian window 11, sigma 1.5, no padding, data range 1",
        citation="Wang et al., Image quality assessment: from error visibility to structural similarity, TIP 2004",
        kind="case",
        views=_IMAGES,
        direction="higher",
        range=(-1, 1),
        worst=-1,
        smallest_side=11,
        small_hint="l1",
    )
    yield MetricSpec(
        name="ms-ssim",
        factory="cfbench_metrics.ms_ssim:ms_ssim",
        summary="multi-scale structural similarity: five scales, window 11, data range 1",
        citation=_MS_SSIM,
        kind="case",
        views=_IMAGES,
        direction="higher",
        range=(0, 1),
        worst=0,
        dims=(2,),
        smallest_side=161,
        small_hint="ms-ssim-3scale",
    )
    yield MetricSpec(
        name="ms-ssim-3scale",
        factory="cfbench_metrics.ms_ssim:ms_ssim_3scale",
        summary="structural similarity over three scales (weights renormalised), window 7, for images up to 160 px",
        citation=_MS_SSIM,
        kind="case",
        views=_IMAGES,
        direction="higher",
        range=(0, 1),
        worst=0,
        smallest_side=28,
        small_hint="ssim",
    )


def _perceptual() -> Iterable[MetricSpec]:
    yield MetricSpec(
        name="lpips",
        factory="cfbench_metrics.perceptual:LPIPS",
        summary="learned perceptual distance: AlexNet, v0.1, official weights",
        citation=_LPIPS,
        assets=(ALEXNET,),
        kind="case",
        views=_IMAGES,
        direction="lower",
        range=(0, LPIPS_MAXIMUM),
        worst=LPIPS_MAXIMUM,
        dims=(2,),
        smallest_side=32,
        small_hint="lpips-resized",
    )
    yield MetricSpec(
        name="lpips-resized",
        factory="cfbench_metrics.perceptual:ResizedLPIPS",
        summary="LPIPS (AlexNet, v0.1, official weights) after bilinear resizing to 64 px",
        citation=_LPIPS,
        assets=(ALEXNET,),
        kind="case",
        views=_IMAGES,
        direction="lower",
        range=(0, LPIPS_MAXIMUM),
        worst=LPIPS_MAXIMUM,
        dims=(2,),
    )


def _sets() -> Iterable[MetricSpec]:
    yield MetricSpec(
        name="fid",
        factory="cfbench_metrics.distribution:fid",
        summary="Frechet distance to the real test images in pytorch-fid's Inception features (biased by N below 2048)",
        citation=_FID,
        assets=(INCEPTION,),
        kind="set",
        views=_SETS,
        direction="lower",
        range=(0, None),
        minimum=100,
        interval="jackknife",
        reference=True,
        dims=(2,),
    )
    yield MetricSpec(
        name="kid",
        factory="cfbench_metrics.distribution:kid",
        summary="unbiased kernel distance to the real test images in pytorch-fid's Inception features",
        citation=_KID,
        assets=(INCEPTION,),
        kind="set",
        views=_SETS,
        direction="lower",
        minimum=50,
        interval="jackknife",
        reference=True,
        dims=(2,),
    )
    yield MetricSpec(
        name="fd-judge",
        factory="cfbench_metrics.judge_distance:fd_judge",
        summary="Frechet distance to the real test images in the judges' features; needs 2 cases per feature",
        citation=_FID,
        kind="set",
        views=_SETS,
        direction="lower",
        range=(0, None),
        minimum=50,
        interval="jackknife",
        needs=frozenset({"judge"}),
        reference=True,
    )
    yield MetricSpec(
        name="kid-judge",
        factory="cfbench_metrics.judge_distance:kid_judge",
        summary="unbiased kernel distance to the real test images in the judges' features",
        citation=_KID,
        kind="set",
        views=_SETS,
        direction="lower",
        minimum=20,
        interval="jackknife",
        needs=frozenset({"judge"}),
        reference=True,
    )


def _explanations() -> Iterable[MetricSpec]:
    yield MetricSpec(
        name="flip",
        factory="cfbench_metrics.flip:flip",
        summary="share of judges who see the target's class in the counterfactual",
        citation="Hvilshoj et al., On quantitative evaluations of counterfactuals, arXiv 2111.00177",
        kind="case",
        views=("counterfactual",),
        direction="higher",
        range=(0, 1),
        minimum=10,
        worst=0,
        needs=frozenset({"judge"}),
    )
    yield MetricSpec(
        name="grade-error",
        factory="cfbench_metrics.grade_error:make_grade_error",
        summary="how far the judges' expected grade is from the grade that was asked for",
        citation=_S0,
        kind="case",
        views=("sweep",),
        direction="lower",
        unit="grades",
        range=(0, None),
        minimum=10,
        needs=frozenset({"judge"}),
    )
    yield MetricSpec(
        name="truth-error",
        factory="cfbench_metrics.truth_error:truth_error",
        summary="mean absolute difference from the exact counterfactual",
        kind="case",
        views=("counterfactual", "sweep"),
        direction="lower",
        range=(0, 1),
        worst=1,
        needs=frozenset({"truth"}),
    )
    yield MetricSpec(
        name="outside-change",
        factory="cfbench_metrics.outside_change:outside_change",
        summary="share of the change that lies outside the exact counterfactual's change",
        kind="case",
        views=("counterfactual",),
        direction="lower",
        range=(0, 1),
        worst=1,
        needs=frozenset({"truth"}),
    )
