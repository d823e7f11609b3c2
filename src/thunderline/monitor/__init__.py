"""How it goes: who serves what."""
