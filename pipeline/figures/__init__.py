"""Figures from arrays, drawn without a screen: each function takes values and returns a matplotlib Figure."""
