{
  description = "ChoirOS on two nodes of each shape, and one that runs prebuilt programs, built without nixpkgs";

  outputs =
    { self }:
    let
      settings = import ./settings.nix;
      node =
        shape: name:
        import ./system {
          inherit name settings shape;
          revision = self.rev or self.dirtyRev or "none";
        };
    in
    {
      nixosConfigurations = {
        choiros-a = node "ovh" "choiros-a";
        choiros-b = node "ovh" "choiros-b";
        choiros-aws-a = node "aws" "choiros-aws-a";
        choiros-aws-b = node "aws" "choiros-aws-b";
        choiros-aws-bridged = node "bridged" "choiros-aws-bridged";
      };
      packages.x86_64-linux = import ./programs { inherit settings; };
    };
}
