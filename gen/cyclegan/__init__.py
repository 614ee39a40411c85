"""CycleGAN and CUT: the plain baseline, and a reader for generators trained with their repositories."""
