"""What a person sees: errors without tracebacks, progress, tables."""
