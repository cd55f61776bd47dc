# A node's system: its units, and around them what nixos-rebuild and switch-to-configuration ask for.
{ name, shape, revision, settings }:
let
  lib = import ../lib.nix;

  shared = [
    ../modules/hypervisor.nix
    ../modules/quota.nix
  ];
  shapes = {
    ovh = [
      ../modules/network.nix
      ../modules/sandboxes.nix
    ];
    aws = [ ../modules/containers.nix ];
    bridged = shapes.aws;
  };
  # Units of such a node run what is installed in /opt/choiros/bin, whatever that is.
  bridged = shape == "bridged";
  modules = map (module: import module { inherit bridged lib name settings; }) (shared ++ shapes.${shape});
  units = builtins.foldl' (all: module: all // module.units) reactivation modules;
  wanted = builtins.concatMap (module: module.wanted) modules;

  # switch-to-configuration restarts this in every switch, for units that belong before sysinit.target.
  reactivation."sysinit-reactivation.target" = ''
    [Unit]
    Description=Reactivate sysinit units
  '';
  # The real one looks for it among the system's own units, and starts it to start what it wants.
  reactivation."multi-user.target" = ''
    [Unit]
    Description=Multi-User System
    Requires=basic.target
    Conflicts=rescue.service rescue.target
    After=basic.target rescue.service rescue.target
    AllowIsolate=yes
  '';

  # cloud-hypervisor@live.service is made from cloud-hypervisor@.service
  instances = [ "@live." "@dev." "@sandbox-live." "@sandbox-dev." ];
  template = builtins.replaceStrings instances (map (_: "@.") instances);

  system-units = lib.build "system-units" ''
    mkdir -p "$out/multi-user.target.wants"
    ${lib.each (map (unit: lib.file unit units.${unit}) (builtins.attrNames units))}
    ${lib.each (map (unit: "ln -s ../${template unit} $out/multi-user.target.wants/${unit}\n") wanted)}
  '';

  kernel = lib.build "linux-6.12.0" ''
    mkdir -p "$out/lib/modules/6.12.0"
    touch "$out/bzImage"
  '';

  nixos-rebuild = lib.build "nixos-rebuild" (
    lib.executable "bin/nixos-rebuild" "#!/bin/sh\nexec /usr/local/bin/nixos-rebuild \"$@\"\n"
  );

  # systemd reads it when it starts, so a switch that changes it re-executes systemd.
  system-conf = lib.build "system.conf" (
    lib.file "system.conf" ''
      [Manager]
      DefaultTimeoutStopSec=90s
    ''
  );

  # What no switch may change under a running system.
  inhibitors = builtins.toJSON { dbus-implementation = "dbus"; };

  version = "25.11.${settings.version}";
  values = {
    inherit revision system-conf system-units version;
  };
  program = path: source: lib.executable path (lib.fill values (builtins.readFile source));

  toplevel = lib.build "nixos-system-${name}-${version}" ''
    ${program "bin/switch-to-configuration" ./switch-to-configuration.sh}
    ${program "sw/bin/nixos-version" ./nixos-version.sh}
    ${program "activate" ./activate.sh}
    ${program "dry-activate" ./dry-activate.sh}
    ${program "init" ./init.sh}
    ${program "pre-switch-check" ./pre-switch-check.sh}
    ${program "user-activation" ./user-activation.sh}
    ${program "sw/bin/choiros-quota" ./quota.sh}
    ${lib.file "nixos-version" version}
    ${lib.file "etc/choiros/version" "${settings.version}\n"}
    ${lib.file "configuration-revision" revision}
    ${lib.file "init-interface-version" "systemd 2"}
    ${lib.file "switch-inhibitors" inhibitors}
    ${lib.file "etc/systemd/user/nixos-activation.service" (builtins.readFile ./nixos-activation.service)}
    mkdir -p "$out/specialisation"
    for tool in busctl loginctl systemctl systemd-escape systemd-tmpfiles; do
      ln -s "/usr/bin/$tool" "$out/sw/bin/$tool"
    done
    ln -s ${system-units} "$out/etc/systemd/system"
    ln -s ${system-conf}/system.conf "$out/etc/systemd/system.conf"
    ln -s ${kernel}/bzImage "$out/kernel"
    ln -s ${kernel} "$out/kernel-modules"
  '';
in
{
  config.system.build = { inherit toplevel nixos-rebuild; };
}
