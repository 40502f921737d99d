"""A judge that stays loaded, and answers over HTTP."""
