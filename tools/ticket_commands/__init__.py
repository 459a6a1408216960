"""The commands of tools/ticket.py, a file each."""
