# What serves the page that users log in at.
{ bridged, lib, name, settings, ... }:
let
  hypervisor = import ../programs/hypervisor.nix { inherit lib name settings; };
  start = if bridged then "/opt/choiros/bin/hypervisor" else "${hypervisor}/bin/start";
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
    ExecStart=${start}
    SuccessExitStatus=143
    Restart=always
    RestartSec=1
  '';
}
