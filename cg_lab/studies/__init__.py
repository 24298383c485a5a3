"""The studies of a results folder as a whole: what is there, what nothing names, what is passed on and united."""
