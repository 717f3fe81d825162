"""Kafka topics as an iterable of batches whose position is a checkpoint's."""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Literal, final

from sparrow.errors import BackendError, CheckpointError, ConfigError
from sparrow.io.agreement import Agreement
from sparrow.io.cutting import Cost
from sparrow.io.grouping import Sharing, specs_to_read
from sparrow.io.plan import as_specs
from sparrow.io.row_work import Filter, RowWork, Transform
from sparrow.io.streams.broker import AwayError, Broker, Connect, connect_confluent, settings_of
from sparrow.io.streams.in_step import StreamTail
from sparrow.io.streams.liveness import Liveness
from sparrow.io.streams.partitions import Partition, Position, SavedRank, continue_from, owned
from sparrow.io.streams.payloads import AbstractPayloads, ArrowPayloads, JsonPayloads
from sparrow.io.streams.poll import Poller
from sparrow.io.streams.rows import Handout, Place
from sparrow.io.streams.start import Start, parse_start
from sparrow.io.streams.stream import AbstractStream, End, OnError, in_step_of, require_one_of, require_seconds
from sparrow.types import ColumnSpec


@final
class KafkaDataset(AbstractStream):
    """Batches of rows from the messages of Kafka topics. Needs `sparrow-rec[stream]`.

    Args:
        topics: a name, or a list of names.
        columns: names, or `ColumnSpec`s that say what a column becomes. JSON needs a dtype, or `kind="bytes"`, for each.
        batch_size: rows a batch, cut across messages and partitions in the order they arrived.
        cost: a further bound of a batch, by the number of values in it.
        where, transform, also_read: which rows to read, and what to make of them, as of a `Dataset`. They are shown the rows of several
            messages at once; of JSON, where there is a `transform`, the fields of `also_read` alone.
        servers: `"host:port,host:port"`. config: settings of librdkafka (security, fetch sizes); give either or both.
        format: what a message is: `"arrow"`, one Arrow IPC stream; `"json"`, one object or an array of objects, in UTF-8.
        types: for JSON, field -> Arrow type, where a ColumnSpec cannot say it (lists of strings, lists of lists, `also_read`).
        start: where partitions begin that no loaded state has a position of: `"earliest"`, `"latest"`, `{"timestamp_ms": T}` (the first
            message of that time or later, the end where there is none), `{partition: offset}` (`{("topic", partition): offset}` for
            several topics), or `"checkpoint"` (iterating before `load_state_dict` is an error; partitions added since it begin at their
            first message).
        groups: columns that many samples share, once in a batch, as of a `Dataset`; with `Requests` a row is a request of several samples.
        rank, world_size: this rank reads every `world_size`-th partition of all, sorted by topic and number, from the `rank`-th on.
        agree, tail: with `end="now"`, how ranks end at one step: `"short"`: once none has a batch left, the others joining in with batches
            without rows; `"drop"`: before one has none left, other batches staying for the next iteration. Memory: 8 batches more.
        flush_seconds: a part-filled batch is handed out this long after its first row arrived.
        end: `"never"`, or `"now"`: the iteration ends with the last message there was when it began; the next reads what came since.
        on_error: a message that is no rows of these columns ends the iteration (`"error"`), or is left out and counted (`"skip"`).
        prefetch: batches made ahead by a thread. Memory: these, and `queued.max.messages.kbytes` of messages (default 16 MB).
        connect_seconds: how long to try to reach a broker when this is made.
        connect: makes the consumer from librdkafka's settings; default `confluent_kafka.Consumer`.

    Partitions are listed once, here: those added later are read by the next run, `unread_partitions` counts them meanwhile. While brokers
    are away an iteration waits, `stalled_seconds` grows, and nothing is lost. `Batch.origin` names `topic[partition] offset N` and rows of
    that message.

    Raises `ConfigError` for arguments that can never be right, `BackendError` where confluent-kafka is missing or no broker answers,
    `DataError` for an unknown topic here, and for poison messages and positions the broker no longer holds when they are reached.
    """

    def __init__(
        self,
        topics: str | Sequence[str],
        columns: Sequence[str | ColumnSpec],
        *,
        batch_size: int,
        cost: Cost | None = None,
        where: Filter | None = None,
        transform: Transform | None = None,
        also_read: Sequence[str] = (),
        servers: str | Sequence[str] | None = None,
        config: Mapping[str, Any] | None = None,
        format: Literal["arrow", "json"] = "arrow",
        types: Mapping[str, Any] | None = None,
        start: Start = "earliest",
        groups: Sharing | None = None,
        rank: int = 0,
        world_size: int = 1,
        agree: Agreement | None = None,
        tail: StreamTail = "short",
        flush_seconds: float = 0.5,
        end: End = "never",
        on_error: OnError = "error",
        prefetch: int = 2,
        connect_seconds: float = 30.0,
        connect: Connect = connect_confluent,
    ) -> None:
        specs, work = specs_to_read(as_specs(columns), groups), RowWork.of(where, transform, also_read)
        in_step = in_step_of(agree, tail, end, rank, world_size)
        super().__init__(specs=specs, batch_size=batch_size, cost=cost, work=work, in_step=in_step, prefetch=prefetch, groups=groups)
        self._topics = _names(topics)
        require_seconds("flush_seconds", flush_seconds)
        require_seconds("connect_seconds", connect_seconds)
        for name, value, known in (("end", end, ("never", "now")), ("on_error", on_error, ("error", "skip"))):
            require_one_of(name, value, known)
        self._payloads = _payloads(format, specs, types, work)
        self._start = parse_start(start, self._topics)
        self._rank, self._world_size = rank, world_size
        self._flush_seconds, self._end, self._on_error = flush_seconds, end, on_error
        self._settings, self._connect = settings_of(servers, config), connect
        self._num_partitions = self._list_partitions(connect_seconds)
        self._positions: dict[Partition, Position] = {}
        self._is_loaded = False
        self._liveness = Liveness()
        self._poller: Poller | None = None

    def _list_partitions(self, timeout: float) -> dict[str, int]:
        broker = Broker(self._settings, self._connect)
        try:
            return {topic: broker.num_partitions(topic, timeout) for topic in self._topics}
        except AwayError as error:
            servers = self._settings["bootstrap.servers"]
            raise BackendError(f"no answer from {servers} within {timeout} s ({error}); check the addresses, or wait longer") from None
        finally:
            broker.close()

    @property
    def partitions(self) -> tuple[str, ...]:
        """What this rank reads, as `topic[partition]`."""
        return tuple(map(str, self._owned()))

    @property
    def stalled_seconds(self) -> float:
        """Seconds brokers did not answer while an iteration went on, those of now included."""
        return self._liveness.stalled_seconds

    @property
    def unread_partitions(self) -> int:
        """Partitions added to the topics since this was made, which no rank reads: save, and start again with the states of all ranks."""
        return 0 if self._poller is None else self._poller.num_unread_partitions

    @property
    def counters(self) -> dict[str, float]:
        """What was left out or waited for, for logs: `skipped` messages, `filtered_rows`, `stalled_seconds`, `unread_partitions`."""
        return {
            "skipped": self.skipped,
            "filtered_rows": self.num_filtered,
            "stalled_seconds": round(self.stalled_seconds, 3),
            "unread_partitions": self.unread_partitions,
        }

    def _owned(self) -> tuple[Partition, ...]:
        return owned(self._num_partitions, self._rank, self._world_size)

    def _read(self, stopping: threading.Event) -> Generator[Handout, None, None]:
        if self._start.needs_state and not self._is_loaded:
            raise ConfigError('start="checkpoint", and no state was loaded; call load_state_dict first, or begin with start="earliest"')
        self._poller = poller = Poller(
            self._owned(),
            dict(self._positions),
            self._start,
            self._payloads,
            self._liveness,
            batch_size=self._batch_size,
            cost=self._cost,
            flush_seconds=self._flush_seconds,
            ends_now=self._end == "now",
            skips=self._on_error == "skip",
            num_partitions=self._num_partitions,
        )
        broker = Broker(self._settings, self._connect)
        try:
            yield from poller.batches(broker, stopping)
        finally:
            broker.close()

    def _advance(self, after: dict[Any, Place]) -> None:
        for partition, (offset, row) in after.items():
            self._positions[partition] = Position(offset + 1, 0) if row is None else Position(offset, row)

    def state_dict(self) -> dict[str, Any]:
        """Return, for each partition of this rank, the offset and the row of that message after the last batch handed out.

        JSON-able, under 100 kB (about 3,000 partitions a rank; more raise `ConfigError`). Partitions not begun yet have no position.
        `where` and `transform` are no part of it: a stream that goes on from it must be given the same.
        """
        names = tuple(spec.name for spec in self._payloads.specs)
        counts = dict(self._num_partitions)
        shapes = {} if isinstance(self._payloads, JsonPayloads) else dict(self._payloads.shapes)  # JSON's follow from the columns
        return SavedRank(self._rank, self._world_size, self._epoch, names, counts, dict(self._positions), shapes).to_json()

    def load_state_dict(self, state: dict[str, Any] | Sequence[dict[str, Any]]) -> None:
        """Continue with the next row the saved ranks had not handed out.

        state: one state, or a list of those of all ranks, in any order; the list is needed where rank or world size changed. Partitions
        that the saved ranks did not have begin at `start`.

        Raises, and changes nothing: `CheckpointError` where `state` is none of this class, `ConfigError` where it belongs to other
        topics, columns or shapes, the states are not of one run, or that of a rank whose partitions this rank reads now is missing.
        """
        given = list(state) if isinstance(state, list | tuple) else [state]
        if not given:
            raise CheckpointError("the list of states is empty; load what KafkaDataset.state_dict returned")
        saved = [SavedRank.of_json(one) for one in given]
        names = {spec.name for spec in self._payloads.specs}
        for one in saved:
            if set(one.columns) != names:
                raise ConfigError(f"the state belongs to columns {sorted(one.columns)}, not {sorted(names)}; read what it was saved with")
            dropped = set(one.num_partitions) - set(self._topics)
            if dropped:
                raise ConfigError(f"the state belongs to topics {sorted(dropped)} too, which are not read now; name them, or start anew")
            for topic, count in one.num_partitions.items():
                if count > self._num_partitions[topic]:
                    raise ConfigError(
                        f"topic {topic!r} had {count} partitions when the state was saved and has {self._num_partitions[topic]} now: "
                        "it was made anew; start anew, or read the topic the state belongs to"
                    )
            for spec in self._payloads.specs:
                shape = one.shapes.get(spec.name)
                if shape is not None and spec.dtype is not None and str(spec.dtype) not in shape:
                    raise ConfigError(f"column {spec.name!r} was {shape} when the state was saved, not {spec.dtype}; ask for it as before")
        positions = continue_from(saved, self._owned())
        self._forget_iteration()
        self._positions, self._is_loaded = positions, True
        self._epoch = max(one.epoch for one in saved)
        self._payloads.shapes.update({name: shape for one in saved for name, shape in one.shapes.items()})


def _names(topics: str | Sequence[str]) -> tuple[str, ...]:
    names = (topics,) if isinstance(topics, str) else tuple(topics)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ConfigError(f"topics is {topics!r}; give a topic's name, or a list of names")
    if len(set(names)) != len(names):
        raise ConfigError(f"topics names one twice: {list(names)}; name each once")
    return names


def _payloads(format: str, specs: tuple[ColumnSpec, ...], types: Mapping[str, Any] | None, work: RowWork | None) -> AbstractPayloads:
    require_one_of("format", format, ("arrow", "json"))
    unknown = set(types or {}) - {spec.name for spec in specs} - set(() if work is None else work.also_read)
    if unknown:
        raise ConfigError(f"types names {sorted(unknown)}, which are not among the columns asked for")
    if format == "json":
        return JsonPayloads(specs, types or {}, work)
    if types:
        raise ConfigError('types is for format="json"; Arrow messages bring their own types')
    return ArrowPayloads(specs, work)
