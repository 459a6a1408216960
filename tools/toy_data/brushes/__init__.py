"""Brushes that all toy sets paint with: choices by chance, and random fields for textures."""
