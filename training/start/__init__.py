"""The first recipe of a data set: looks at rows, and writes what fits them and the machine."""
