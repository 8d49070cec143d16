"""What is measured: estimates, curves, accuracy. Pure functions and small accumulators."""
