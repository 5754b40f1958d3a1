"""Planning: which steps a suite needs, which are done, and which numbers cannot be had and why. Pure and torch-free."""

from cfbench.plan.build import make_plan as make_plan
from cfbench.plan.graph import prepare_step as prepare_step
from cfbench.plan.model import Measurement as Measurement
from cfbench.plan.model import Plan as Plan
from cfbench.plan.model import Step as Step
from cfbench.plan.ranks import ranks_without as ranks_without
