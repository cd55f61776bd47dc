# The sandboxes live and dev: a workload each, in a network of its own, behind a forward on the host.
{ lib, settings, ... }:
let
  ip = lib.tool "ip";
  socat = lib.tool "socat";
  sandbox = lib.server {
    name = "sandbox";
    values = {
      inherit (settings) version;
      inherit ip;
      busybox = lib.tool "busybox";
      http = ../programs/http.sh;
    };
    files = {
      start = ../programs/sandbox-start.sh;
      answer = ../programs/sandbox-answer.sh;
      connect = ../programs/sandbox-connect.sh;
      disconnect = ../programs/sandbox-disconnect.sh;
    };
  };
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
    StartLimitIntervalSec=0

    [Service]
    Type=exec
    ExecStartPre=${sandbox}/bin/connect %i
    ExecStart=${ip}/bin/ip netns exec vm-%i ${sandbox}/bin/start %i
    ExecStopPost=${sandbox}/bin/disconnect %i
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
