"""Load a backbone and its processor, and turn questions into what it reads."""
