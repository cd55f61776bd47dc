"""A repository that is not ours, with folders of our names, which installs Switchproof and deploys with it."""
