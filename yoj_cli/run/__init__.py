"""Long runs: what is done is known, so that a run can stop anywhere and go on, here or in parts elsewhere."""
