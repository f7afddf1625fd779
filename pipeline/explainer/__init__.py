"""What Conv2D and one trained network compute, as a page to play with: content, parts in JavaScript, one file."""
