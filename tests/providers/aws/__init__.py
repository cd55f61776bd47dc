"""The provider `aws`."""
