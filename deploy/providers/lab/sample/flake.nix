{
  description = "ChoirOS on two nodes of each shape, built without nixpkgs";

  outputs =
    { self }:
    let
      node =
        shape: name:
        import ./system {
          inherit name shape;
          revision = self.rev or self.dirtyRev or "none";
          settings = import ./settings.nix;
        };
    in
    {
      nixosConfigurations = {
        choiros-a = node "ovh" "choiros-a";
        choiros-b = node "ovh" "choiros-b";
        choiros-aws-a = node "aws" "choiros-aws-a";
        choiros-aws-b = node "aws" "choiros-aws-b";
      };
    };
}
