"""What the engine asks of the world, as Protocols only. Adapters implement them; wiring joins them."""
