"""What serves to make and to test the package, and is no part of it."""
