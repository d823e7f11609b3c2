"""Moves between stages: candidates, plan, promotion, rollback, history."""
