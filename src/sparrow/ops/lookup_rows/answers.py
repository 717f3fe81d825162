"""What a result of lookup_rows is."""

# The item beside the first equal key; that key's place in its row, counted from 1; whether there is one.
ITEM, PLACE, MATCH = 0, 1, 2
