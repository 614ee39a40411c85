"""Readers of files that other people made: they run no code from a file, and spend no more than its size allows."""
