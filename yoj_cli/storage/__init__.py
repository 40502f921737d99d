"""Files of models and data sets, here and on the Hub: names, JSON, weights."""
