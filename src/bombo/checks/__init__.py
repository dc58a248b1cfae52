"""The dataset doctor: what can be wrong with a data set, found before any training."""
