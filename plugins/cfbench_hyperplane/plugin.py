"""Offer the hyperplane attribution of the diffusion-autoencoder papers."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from cfbench.hookspecs import hookimpl
from cfbench.specs import AttributionSpec, param


@dataclass(frozen=True)
class HyperplaneParams:
    """How the plane is found and how distance becomes a grade.

    The plane is not unique: other probes, C and spaces give other normals at nearly the same AUC, hence other
    counterfactuals. All of it is part of a method's identity.
    """

    probe: Literal["svm", "logistic"] = param(
        "svm",
        "linear classifier: 'svm' (scikit-learn SVC(kernel='linear'), libsvm, tol 1e-3, as in the public code; its "
        "time grows like n^2.3, so prefer 'logistic' above some 10,000 cases) or 'logistic' "
        "(LogisticRegression, L2, lbfgs, tol 1e-6, at most 10,000 iterations)",
    )
    C: float = param(
        1.0,
        "inverse strength of the L2 penalty; larger follows the training cases more closely (and slows libsvm down)",
    )
    space: Literal["raw", "zscore"] = param(
        "raw",
        "space of the probe, of distances and of moves: 'raw' latents (as in the public code) or 'zscore': each "
        "latent dimension centred and divided by its standard deviation over the training cases",
    )
    class_weight: Literal["none", "balanced"] = param(
        "none", "'balanced' weights the two classes inversely to their frequency; 'none' leaves cases equal"
    )
    calibration: Literal["two_means", "ols", "ols_all"] = param(
        "two_means",
        "line from signed distance to grade: 'two_means' through the mean distances of the lowest and the highest "
        "grade (the paper), 'ols' least squares over the cases of all grades that take part in fits, 'ols_all' "
        "over excluded grades too (the public code; n/a where excluded grades are kept away from fits)",
    )


@hookimpl
def cfbench_attributions() -> Iterable[AttributionSpec]:
    """Offer `hyperplane`."""
    yield AttributionSpec(
        name="hyperplane",
        factory="cfbench_hyperplane.attribution:Hyperplane",
        summary="linear probe in latent space: reflection at its plane, or a move to a calibrated grade",
        params=HyperplaneParams,
        citation="Atad et al., Counterfactual Explanations for Medical Image Classification and Regression using "
        "Diffusion Autoencoder, MELBA 2024",
        needs=frozenset({"latent"}),
        provides=frozenset({"score", "grade", "counterfactual"}),
    )
