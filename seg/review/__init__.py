"""Labels that a model doubts which did not learn from them."""
