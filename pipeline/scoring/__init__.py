"""How good a network is, from its predictions; pictures of it."""
