"""Makes every output for people and programs from the record of a run."""
