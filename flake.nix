{
  description = "NixOS deploys that prove the deployment contract";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      project = (builtins.fromTOML (builtins.readFile ./pyproject.toml)).project;
      systems = [ "x86_64-linux" "aarch64-linux" "x86_64-darwin" "aarch64-darwin" ];
      forEach = make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});

      # What pyproject.toml names, in nixpkgs' spelling; grammars of tree-sitter have a set of their own there.
      nameOf = requirement: builtins.replaceStrings [ "." ] [ "-" ] (builtins.head (builtins.match "([A-Za-z0-9._-]+).*" requirement));
      dependencies =
        python: map
          (requirement: let name = nameOf requirement; in python.pkgs.${name} or python.pkgs.tree-sitter-grammars.${name})
          (project.dependencies ++ project.optional-dependencies.aws ++ project.optional-dependencies.paths);

      package =
        pkgs: pkgs.python3.pkgs.buildPythonApplication {
          pname = project.name;
          version = project.version;
          pyproject = true;
          src = self;
          build-system = [ pkgs.python3.pkgs.hatchling ];
          dependencies = dependencies pkgs.python3;
          # `init` asks git for the repository's URL, and OpenSSH signs records and checks signatures.
          makeWrapperArgs = [ "--suffix" "PATH" ":" (pkgs.lib.makeBinPath [ pkgs.git pkgs.openssh ]) ];
          meta = {
            description = project.description;
            mainProgram = "switchproof";
          };
        };
    in
    {
      packages = forEach (pkgs: { default = package pkgs; });
      apps = forEach (pkgs: {
        default = {
          type = "app";
          program = "${package pkgs}/bin/switchproof";
        };
      });
      devShells = forEach (pkgs: {
        default = pkgs.mkShell {
          packages = [ pkgs.python3 pkgs.git pkgs.just pkgs.openssh pkgs.ruff pkgs.shellcheck pkgs.uv ];
        };
      });
    };
}
