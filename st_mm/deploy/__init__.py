"""The way out of the framework: a ticket as a smaller, faster, equal network."""
