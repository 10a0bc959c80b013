"""Molecules to latent points, latent points to molecules, and the paths between."""
