"""What an experiment is: the schema, its checks, and the arithmetic of Conv2D. Needs no TensorFlow."""
