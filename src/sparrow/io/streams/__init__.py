"""Sources that go on: Kafka topics, and folders in which files land. `docs/streams.md` is the page for users."""

from sparrow.io.streams.folder import WatchedFolder as WatchedFolder
from sparrow.io.streams.kafka import KafkaDataset as KafkaDataset
