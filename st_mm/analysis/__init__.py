"""What training has led to: reports, comparisons, tables and plots."""
