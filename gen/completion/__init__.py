"""Completion of commands, options and values in the shell."""
