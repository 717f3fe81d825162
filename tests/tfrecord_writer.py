"""TFRecord files of tf.Example, written by nothing but the definitions of the formats: the oracle of the reader."""

import struct


def crc_of(data):
    """Bit by bit, by the definition."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def mask_of(data):
    crc = crc_of(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def record_of(data):
    length = struct.pack("<Q", len(data))
    return length + mask_of(length) + data + mask_of(data)


def varint_of(number):
    number &= 2**64 - 1
    out = b""
    while number >= 128:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field_of(number, data):
    return varint_of(number << 3 | 2) + varint_of(len(data)) + data


def feature_of(kind, values, packed=True):
    if kind == "bytes":
        return field_of(1, b"".join(field_of(1, value) for value in values))
    if kind == "float":
        if packed:
            return field_of(2, field_of(1, b"".join(struct.pack("<f", value) for value in values)) if values else b"")
        return field_of(2, b"".join(b"\x0d" + struct.pack("<f", value) for value in values))
    if packed:
        return field_of(3, field_of(1, b"".join(map(varint_of, values))) if values else b"")
    return field_of(3, b"".join(b"\x08" + varint_of(value) for value in values))


def example_of(features, packed=True):
    """features: name -> (kind, values)."""
    entries = [
        field_of(1, field_of(1, name.encode()) + field_of(2, feature_of(kind, values, packed))) for name, (kind, values) in features.items()
    ]
    return field_of(1, b"".join(entries))


def write_examples(path, rows, packed=True, compress=bytes):
    path.write_bytes(compress(b"".join(record_of(example_of(row, packed)) for row in rows)))
    return path
