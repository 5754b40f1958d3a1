"""The step that keeps what a set metric needs of the real images, once per dataset."""

from cfbench.protocols import SetMetric
from cfbench.steps.views import real_view
from cfbench.steps.work import Work


def reference(work: Work) -> None:
    """Store the metric's reference tensors of the real test cases."""
    metric: SetMetric = work.build("metric")
    work.save_tensors(metric.reference(real_view(work), work.context).tensors)
