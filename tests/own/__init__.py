"""A team's own checks and waivers, in whole sessions against hosts that are made up."""
