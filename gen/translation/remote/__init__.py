"""`gen translate` with URLs: a local stage stands for them, so that the rest of gen knows files alone."""
