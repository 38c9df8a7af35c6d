"""The border between measuring and reporting: run directories, written by the one and read by the other."""
