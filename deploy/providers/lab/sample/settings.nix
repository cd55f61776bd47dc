# What a release changes.
{
  version = "v1";
}
