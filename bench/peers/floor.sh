# What the verb `observe` asks a host, as plain commands in a row: nothing is judged, framed or waited for.
units='hypervisor.service cloud-hypervisor@live.service socat-sandbox@live.service cloud-hypervisor@dev.service socat-sandbox@dev.service'
for url in http://127.0.0.1:9090/login http://127.0.0.1:8080/health http://127.0.0.1:8081/health; do
  curl -q -sS --noproxy '*' --max-time 5 --max-redirs 0 -w '\nHTTP %{http_code} %{url}\n' -- "$url" &
done
wait
systemctl show -p Id,ActiveState,SubState,MainPID,InvocationID,NRestarts -- $units
readlink -e /run/current-system
readlink -e /nix/var/nix/profiles/system
readlink -e /run/booted-system
readlink /nix/var/nix/profiles/system
/run/current-system/sw/bin/nixos-version --configuration-revision
cat /proc/sys/kernel/random/boot_id
date +%s.%N
systemctl list-units --state=failed,auto-restart --plain --no-legend --no-pager --full
systemctl show -p Id,LoadState,ActiveState,SubState,Result,MainPID,InvocationID,FragmentPath,DropInPaths,ControlGroup -- $units
sha256sum /etc/systemd/system/hypervisor.service /etc/systemd/system/cloud-hypervisor@.service /etc/systemd/system/socat-sandbox@.service \
  /etc/systemd/system/*@live.service.d/*.conf /etc/systemd/system/*@dev.service.d/*.conf
nix-store -qR "$(readlink -e /run/current-system)"
find /sys/fs/cgroup/system.slice /sys/fs/cgroup/systemd/system.slice -name cgroup.procs -exec cat {} + 2>/dev/null
ss -Hltnp
for unit in $units; do journalctl -q --no-pager -n 5 -u "$unit" & done
wait
systemctl status --no-pager -n 0 -- $units
