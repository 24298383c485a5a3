"""From cells and predictions to effects with intervals and verdicts; pure."""
