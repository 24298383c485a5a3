"""Procedural medical-looking images, a positive and a negative control for the instrument itself."""

from __future__ import annotations

from cg_lab.data.phantom.rendering import DRAWING_VERSION, draw_phantom_labels, render_phantoms
from cg_lab.data.phantom.vocabulary import AREAS, MODALITIES, PHANTOM_LABELS, QUESTIONS, TASKS, PhantomKey, World

__all__ = [
    "AREAS",
    "DRAWING_VERSION",
    "MODALITIES",
    "PHANTOM_LABELS",
    "QUESTIONS",
    "TASKS",
    "PhantomKey",
    "World",
    "draw_phantom_labels",
    "render_phantoms",
]
