# The sandboxes live and dev: a container each, with a systemd of its own and port 8080 of its own.
{ bridged, lib, settings, ... }:
let
  busybox = lib.tool "busybox";

  # What runs in a container runs from the store, as on NixOS, its systemd too.
  systemd = lib.build "systemd" ''
    mkdir -p "$out/lib/systemd"
    cp /usr/lib/systemd/systemd /usr/lib/systemd/systemd-journald "$out/lib/systemd"
  '';

  sandbox = if bridged then "/opt/choiros" else import ../programs/sandbox.nix { inherit lib settings; };

  # The units inside: hardly more than the sandbox, so that a container is up in a moment.
  inside = instance: port: {
    "default.target" = ''
      [Unit]
      Description=Sandbox ${instance}
      DefaultDependencies=no
      Wants=sandbox.service systemd-journald.service
    '';
    "systemd-journald.service" = ''
      [Unit]
      Description=Journal of sandbox ${instance}
      DefaultDependencies=no
      Requires=systemd-journald.socket
      After=systemd-journald.socket systemd-journald-dev-log.socket

      [Service]
      Type=notify
      ExecStart=${systemd}/lib/systemd/systemd-journald
      Sockets=systemd-journald.socket systemd-journald-dev-log.socket
      Restart=always
    '';
    "sandbox.service" = ''
      [Unit]
      Description=ChoirOS sandbox ${instance}
      DefaultDependencies=no
      Conflicts=shutdown.target
      Before=shutdown.target
      After=systemd-journald.service

      [Service]
      Type=exec
      RuntimeDirectory=sandbox
      Environment=INSTANCE=${instance} PORT=${port}
      ExecStart=${sandbox}/bin/sandbox
      SuccessExitStatus=143
      Restart=always
      RestartSec=1
      TimeoutStopSec=5
    '';
  };
  folder =
    name: units: lib.each (map (unit: lib.file "${name}/${unit}" units.${unit}) (builtins.attrNames units));
  units = lib.build "container-units-${settings.version}" ''
    ${folder "sandbox-live" (inside "live" "8080")}
    ${folder "sandbox-dev" (inside "dev" "8080")}
  '';

  container = lib.build "container-${settings.version}" (
    lib.programs
      {
        inherit busybox systemd units;
        nspawn = lib.tool "systemd-nspawn";
      }
      { run = ../container/run.sh; }
  );
in
{
  wanted = [
    "container@sandbox-live.service"
    "container@sandbox-dev.service"
  ];

  units."container@.service" = ''
    [Unit]
    Description=Container '%i'

    [Service]
    Type=notify
    Delegate=yes
    Slice=machine.slice
    ${lib.logWord "%i"}
    ExecStart=${container}/bin/run %i
    SyslogIdentifier=container %i
    KillMode=mixed
    Restart=on-failure
    RestartSec=1
    RestartForceExitStatus=133
    SuccessExitStatus=133
    TimeoutStartSec=30
    TimeoutStopSec=10
  '';
}
