"""The wardrobe: rendered clothes in FashionIQ's shape, made from a seed, with captions as people write."""
