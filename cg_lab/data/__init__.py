"""Where samples come from, how they are split, and what is asked about them."""
