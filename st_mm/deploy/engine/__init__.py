"""A small sparse engine in C: one program for every ticket, and a file of weights."""
