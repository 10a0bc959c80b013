"""Molecules that contain given substructures: how they are written, and how they are sampled."""

from molvae.generate.scaffold.sampler import PARTICLES, Scaffold, decode_scaffold

__all__ = ["PARTICLES", "Scaffold", "decode_scaffold"]
