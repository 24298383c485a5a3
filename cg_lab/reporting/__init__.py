"""From a study's files to effects.csv, report.md and report.html."""
