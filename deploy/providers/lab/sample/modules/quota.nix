# How much of the host a sandbox may use: applied again by a reload when a release changes it.
{ ... }:
{
  wanted = [ "choiros-quota.service" ];
  units."choiros-quota.service" = ''
    [Unit]
    Description=ChoirOS quota
    X-Reload-Triggers=80

    [Service]
    Type=oneshot
    RemainAfterExit=yes
    ExecStart=/run/current-system/sw/bin/choiros-quota
    ExecReload=/run/current-system/sw/bin/choiros-quota
  '';
}
