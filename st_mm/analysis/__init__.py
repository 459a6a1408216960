"""What came of it: reports, comparisons, tables and plots."""
