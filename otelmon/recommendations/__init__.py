"""What could be done better, with the figures that say so: one pure function for each, in a file."""
