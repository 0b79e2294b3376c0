"""Functions from values to values: what should be and what is go in, what to do comes out."""
