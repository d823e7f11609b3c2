"""The one place that speaks Flower."""
