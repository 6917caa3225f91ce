"""The sections of a datalist; apart, so that the command line knows them without NumPy."""

SECTIONS = ("training", "validation", "test")
