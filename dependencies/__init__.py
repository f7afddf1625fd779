"""What the locked packages are: their licences, and what is known to be wrong with them."""
