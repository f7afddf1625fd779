"""What the arguments of Conv2D really do: verbs in this folder, what they are made of in the folders below."""
