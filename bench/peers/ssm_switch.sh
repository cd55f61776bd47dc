# The old host-side switch: check out, switch, wait for health. RELEASE_SHA empty: only look whether all is healthy.
set -eu
cd "${WORKDIR:-/opt/choiros/workspace}"
if [ -n "${RELEASE_SHA:-}" ]; then
  git fetch --quiet --tags origin
  git checkout --quiet --detach "$RELEASE_SHA"
  nixos-rebuild switch --flake ".#$FLAKE_ATTR"
fi
healthy() { curl -fsS --max-time 5 --retry 60 --retry-delay 1 --retry-all-errors "$@" >/dev/null; }
systemctl is-active hypervisor.service container@sandbox-live.service container@sandbox-dev.service
healthy http://127.0.0.1:9090/login
for name in sandbox-live sandbox-dev; do
  nixos-container run "$name" -- curl -fsS --max-time 5 --retry 60 --retry-delay 1 --retry-all-errors \
    http://127.0.0.1:8080/health >/dev/null
  nixos-container run "$name" -- ss -ltn
done
