"""Training from data to run folder: the loop, its metrics and checkpoints, stop and resume."""

from sparrow.pipelines.dataset import Dataset as Dataset
from sparrow.pipelines.evaluate_next import EvaluateNext as EvaluateNext
from sparrow.pipelines.hooks import Hook as Hook
from sparrow.pipelines.options import TrainerOptions as TrainerOptions
from sparrow.pipelines.run_folder import RunFolder as RunFolder
from sparrow.pipelines.schedule import LearningRateSchedule as LearningRateSchedule
from sparrow.pipelines.seeding import seed_everything as seed_everything
from sparrow.pipelines.trainer import Trainer as Trainer
