"""Clusters of points, and the block-sparse ranges made of them."""
