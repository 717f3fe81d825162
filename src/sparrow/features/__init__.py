"""Feature Engine: columns to model inputs, declared once."""

from sparrow.features.config import expand_names as expand_names
from sparrow.features.config import features_from_config as features_from_config
from sparrow.features.engine import FeatureEngine as FeatureEngine
from sparrow.features.feature import Feature as Feature
from sparrow.features.transforms import Bucketize as Bucketize
from sparrow.features.transforms import Cast as Cast
from sparrow.features.transforms import Context as Context
from sparrow.features.transforms import FeatureType as FeatureType
from sparrow.features.transforms import Fill as Fill
from sparrow.features.transforms import Hash as Hash
from sparrow.features.transforms import Log1p as Log1p
from sparrow.features.transforms import Mod as Mod
from sparrow.features.transforms import Transform as Transform
