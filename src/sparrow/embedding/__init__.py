"""Embedding Engine: features to vectors through dynamic tables."""

from sparrow.embedding.embedded import Embedded as Embedded
from sparrow.embedding.engine import EmbeddingEngine as EmbeddingEngine
from sparrow.embedding.options import COMBINERS as COMBINERS
from sparrow.embedding.options import EmbeddingOption as EmbeddingOption
