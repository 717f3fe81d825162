"""File formats, one module each, behind the protocol `Format`."""

from sparrow.io.formats.csv import Csv as Csv
from sparrow.io.formats.format import FileTypes as FileTypes
from sparrow.io.formats.format import Format as Format
from sparrow.io.formats.format import FormatError as FormatError
from sparrow.io.formats.format import OpenFile as OpenFile
from sparrow.io.formats.ipc import Ipc as Ipc
from sparrow.io.formats.orc import Orc as Orc
from sparrow.io.formats.parquet import Parquet as Parquet
from sparrow.io.formats.tfrecord import TFRecord as TFRecord
