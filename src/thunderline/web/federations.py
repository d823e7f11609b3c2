"""Federations: created from a spec, started, watched, paused, stopped."""

from fastapi import APIRouter

router = APIRouter(prefix="/api", tags=["federations"])
