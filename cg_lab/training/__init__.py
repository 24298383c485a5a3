"""Fine-tune a backbone on a mixture."""
