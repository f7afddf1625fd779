"""What a study's records support, as a page that a person reads: evidence, decision, sentences, pictures."""
