"""conf/ and overrides -> a checked configuration, of the sections that all rooms declare."""
