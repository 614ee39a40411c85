"""Facts about the package that need no import of it."""

VERSION = "0.1.0"
