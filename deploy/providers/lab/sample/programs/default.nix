# The programs as packages of their own, to be built elsewhere and installed on hosts that run them through a link.
{ settings }:
let
  lib = import ../lib.nix;
in
{
  hypervisor = import ./hypervisor.nix { inherit lib settings; name = "choiros"; };
  sandbox = import ./sandbox.nix { inherit lib settings; };
  desktop = lib.build "desktop-${settings.version}" (
    lib.executable "bin/dioxus-desktop" "#!/bin/sh\necho desktop ${settings.version}\n"
  );
}
