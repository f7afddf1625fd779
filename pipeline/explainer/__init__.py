"""What Conv2D and one trained network compute, as a page to play with: its content, its parts in JavaScript, one file."""
