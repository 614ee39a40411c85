"""CycleGAN and CUT: the plain baseline, and the reader of generators trained with their repositories."""
