"""Molecule files in and out, their preparation, and the dataset folder."""
