"""Numbers by which `columns` of the operators on many ragged columns (`truncate_rows` and others) says what to do with each."""

# The elements of a list that are kept where there are too many.
HEAD, TAIL = range(2)
# The side on which rows are filled where there are too few.
RIGHT, LEFT = range(2)
# Whether lists that are too short get empty lists, and where.
NOT_ADDED, ADDED_AT_END, ADDED_AT_BEGINNING = range(3)
# The weight of an item that occurs several times.
FIRST, SUM = range(2)
