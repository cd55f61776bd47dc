# The bridge that the sandboxes hang on.
{ lib, ... }:
let
  ip = "${lib.tool "ip"}/bin/ip";
in
{
  wanted = [ "br-choiros.service" ];
  units."br-choiros.service" = ''
    [Unit]
    Description=ChoirOS bridge

    [Service]
    Type=oneshot
    RemainAfterExit=yes
    ExecStart=${ip} link add br-choiros address 02:00:00:00:00:01 type bridge forward_delay 0
    ExecStart=${ip} address add 10.0.0.1/24 dev br-choiros
    ExecStart=${ip} link set br-choiros up
    ExecStop=${ip} link delete br-choiros
  '';
}
