"""The version, readable without importing the package."""

VERSION = "0.2.0"
