"""Numbers of variable length, seven bits a byte from the lowest on, as references of decoders read them."""


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the unsigned number that begins at byte `at`, and where it ends. Raises `IndexError` where the bytes end before."""
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 128:
            return value, at
