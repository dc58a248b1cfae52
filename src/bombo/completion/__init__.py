"""What a person would have to annotate, as far as a trained network can: the missing boxes, the missing masks."""
