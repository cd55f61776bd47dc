# The page that users log in at.
{ lib, name, settings, ... }:
let
  hypervisor = lib.server {
    name = "hypervisor";
    values = {
      inherit (settings) version;
      busybox = lib.tool "busybox";
      http = ../programs/http.sh;
      node = name;
    };
    files = {
      start = ../programs/hypervisor-start.sh;
      answer = ../programs/hypervisor-answer.sh;
    };
  };
in
{
  wanted = [ "hypervisor.service" ];
  units."hypervisor.service" = ''
    [Unit]
    Description=ChoirOS hypervisor
    After=br-choiros.service
    StartLimitIntervalSec=0

    [Service]
    Type=exec
    ExecStart=${hypervisor}/bin/start
    SuccessExitStatus=143
    Restart=always
    RestartSec=1
  '';
}
