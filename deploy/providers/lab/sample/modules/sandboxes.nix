# The sandboxes live and dev: a machine each on the bridge, behind a forward on the host.
{ lib, settings, ... }:
let
  guest = import ../guest { inherit lib settings; };
  socat = lib.tool "socat";
  tools = {
    busybox = lib.tool "busybox";
    ip = lib.tool "ip";
    qemu = lib.tool "qemu-system-x86_64";
  };
  machine = lib.build "machine-${settings.version}" (
    lib.programs (tools // guest) {
      connect = ../machine/connect.sh;
      disconnect = ../machine/disconnect.sh;
      run = ../machine/run.sh;
    }
  );
in
{
  wanted = [
    "cloud-hypervisor@live.service"
    "cloud-hypervisor@dev.service"
    "socat-sandbox@live.service"
    "socat-sandbox@dev.service"
  ];

  units."cloud-hypervisor@.service" = ''
    [Unit]
    Description=ChoirOS sandbox %i
    Requires=br-choiros.service
    After=br-choiros.service

    [Service]
    Type=exec
    RuntimeDirectory=microvm-%i
    ${lib.logWord "%i"}
    ExecStartPre=${machine}/bin/connect %i
    ExecStart=${machine}/bin/run %i
    ExecStopPost=${machine}/bin/disconnect %i
    SyslogIdentifier=sandbox
    SuccessExitStatus=143
    Restart=always
    RestartSec=1
    TimeoutStopSec=5
  '';
  units."cloud-hypervisor@live.service.d/overrides.conf" = ''
    [Service]
    Environment=GUEST_ADDRESS=10.0.0.100 GUEST_MAC=02:00:00:00:00:64
  '';
  units."cloud-hypervisor@dev.service.d/overrides.conf" = ''
    [Service]
    Environment=GUEST_ADDRESS=10.0.0.101 GUEST_MAC=02:00:00:00:00:65
  '';

  units."socat-sandbox@.service" = ''
    [Unit]
    Description=Forward to ChoirOS sandbox %i
    After=cloud-hypervisor@%i.service
    StartLimitIntervalSec=0

    [Service]
    Type=exec
    ${lib.logWord "%i"}
    ExecStart=${socat}/bin/socat TCP-LISTEN:''${PORT},bind=127.0.0.1,fork,reuseaddr,backlog=64 TCP:''${GUEST_ADDRESS}:8080
    SuccessExitStatus=143
    Restart=always
    RestartSec=1
  '';
  units."socat-sandbox@live.service.d/overrides.conf" = ''
    [Service]
    Environment=PORT=8080 GUEST_ADDRESS=10.0.0.100
  '';
  units."socat-sandbox@dev.service.d/overrides.conf" = ''
    [Service]
    Environment=PORT=8081 GUEST_ADDRESS=10.0.0.101
  '';
}
