"""From a study's files to effects.csv, report.md and report.html."""

from __future__ import annotations

from cg_lab.reporting.write import ReportFiles, write_report

__all__ = ["ReportFiles", "write_report"]
