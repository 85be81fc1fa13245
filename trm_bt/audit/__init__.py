"""Look-ahead: counterfactual bars, and what must not move with them."""
