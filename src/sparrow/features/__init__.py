"""Feature Engine: columns to model inputs, declared once."""

from sparrow.features.config import expand_names as expand_names
from sparrow.features.config import features_from_config as features_from_config
from sparrow.features.engine import FeatureEngine as FeatureEngine
from sparrow.features.feature import Feature as Feature
from sparrow.features.fitting.fit import Fitting as Fitting
from sparrow.features.fitting.fit import fit as fit
from sparrow.features.registry import register_transform as register_transform
from sparrow.features.types import Call as Call
from sparrow.features.types import Context as Context
from sparrow.features.types import FeatureType as FeatureType
from sparrow.features.types import Transform as Transform
