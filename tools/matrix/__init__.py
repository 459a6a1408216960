"""Matrices of trainings: which there are, and how they come to run."""
