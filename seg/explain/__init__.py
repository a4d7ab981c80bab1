"""Which pixels a model's answer rests on."""
