"""The images: where they come from, whether they are right, how they are kept and split. Needs no TensorFlow."""
