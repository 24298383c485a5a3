"""Procedural medical-looking images, positive and negative controls for the instrument itself."""

from __future__ import annotations

from cg_lab.data.phantom.rendering import DRAWING_VERSIONS, draw_phantom_labels, render_phantoms
from cg_lab.data.phantom.vocabulary import AREAS, MODALITIES, PHANTOM_LABELS, QUESTIONS, TASKS, PhantomKey, World

__all__ = [
    "AREAS",
    "DRAWING_VERSIONS",
    "MODALITIES",
    "PHANTOM_LABELS",
    "QUESTIONS",
    "TASKS",
    "PhantomKey",
    "World",
    "draw_phantom_labels",
    "render_phantoms",
]
