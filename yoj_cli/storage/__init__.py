"""Files of models, here and on the Hub: names, JSON, weights."""
