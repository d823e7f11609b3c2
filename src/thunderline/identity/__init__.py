"""Who asks: tenants, principals, API keys."""
