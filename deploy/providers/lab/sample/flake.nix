{
  description = "ChoirOS on two nodes, built without nixpkgs";

  outputs =
    { self }:
    let
      node =
        name:
        import ./system {
          inherit name;
          revision = self.rev or self.dirtyRev or "none";
          settings = import ./settings.nix;
        };
    in
    {
      nixosConfigurations = {
        choiros-a = node "choiros-a";
        choiros-b = node "choiros-b";
      };
    };
}
