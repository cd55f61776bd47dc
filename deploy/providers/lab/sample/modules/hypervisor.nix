# What serves the page that users log in at.
{ bridged, lib, name, settings, ... }:
let
  hypervisor =
    if bridged then "/opt/choiros" else import ../programs/hypervisor.nix { inherit lib name settings; };
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
    ${lib.logWord "hypervisor"}
    ExecStart=${hypervisor}/bin/hypervisor
    SuccessExitStatus=143
    Restart=always
    RestartSec=1
  '';
}
