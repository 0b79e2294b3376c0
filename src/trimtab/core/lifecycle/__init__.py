"""State machines over time: ``step(state, event, now) -> (state, effects)``."""
