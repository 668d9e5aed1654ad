"""`textrl report rm`: the report card of a reward model."""
