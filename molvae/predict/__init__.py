"""Predictors of measured columns: values with calibrated intervals, nearest neighbors, domain."""
