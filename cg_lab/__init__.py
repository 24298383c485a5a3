"""Ask whether a vision-language model recombines what it learned (compositional generalization on medical images)."""

__version__ = "0.1.0"
