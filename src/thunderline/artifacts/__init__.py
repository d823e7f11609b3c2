"""Bytes: one store, addressed by content, with readable keys beside."""
