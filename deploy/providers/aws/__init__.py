"""The provider `aws`: hosts reached through SSM Run Command. boto3 loads with it, and nowhere else."""
