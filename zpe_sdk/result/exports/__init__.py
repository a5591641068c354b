"""Results in the formats of other programs, one module for each: a result in, the text of a file out."""
