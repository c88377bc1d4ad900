"""Where prices come from: one module a place, each giving a `meter.price.Source`."""
