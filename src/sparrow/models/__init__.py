"""Model zoo: small modules to use or to copy."""

from sparrow.models.deepfm import DeepFM as DeepFM
from sparrow.models.dice import Dice as Dice
from sparrow.models.din import DIN as DIN
from sparrow.models.logistic_regression import LogisticRegression as LogisticRegression
