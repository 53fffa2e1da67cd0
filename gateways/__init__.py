"""The real-time core: two gateways, one domain, one store."""
