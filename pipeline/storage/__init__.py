"""Files: where they lie, how they are written whole or not at all, digests, locks."""
