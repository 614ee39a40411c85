"""Translating frames, whatever the method: models, pictures, clips, reports, and the base of unpaired training."""
