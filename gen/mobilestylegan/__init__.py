"""MobileStyleGAN: a generator for CPUs, distilled from StyleGAN2."""
