"""Dataclasses in, Plotly figures and Pillow images out."""
