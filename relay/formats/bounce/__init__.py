"""Mail that comes back: which recipients it speaks of, and what became of them."""
