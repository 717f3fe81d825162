"""Synthetic click data with a known truth: Criteo-shaped ORC files of any size, and the AUCs a model can be measured against."""

from sparrow.synth.generate import SynthReport as SynthReport
from sparrow.synth.generate import generate as generate
from sparrow.synth.logistic_baseline import BaselineReport as BaselineReport
from sparrow.synth.logistic_baseline import fit_logistic_baseline as fit_logistic_baseline
from sparrow.synth.spec import CRITEO_SHAPE as CRITEO_SHAPE
from sparrow.synth.spec import IdColumn as IdColumn
from sparrow.synth.spec import Interaction as Interaction
from sparrow.synth.spec import NumericColumn as NumericColumn
from sparrow.synth.spec import Shape as Shape
from sparrow.synth.spec import SynthSpec as SynthSpec
