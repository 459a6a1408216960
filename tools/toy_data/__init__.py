"""What the generators of toy sets share: the command line, and which images a set has."""
