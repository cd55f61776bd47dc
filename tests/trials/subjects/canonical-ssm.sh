#!/usr/bin/env bash
# Keeps the contract on hosts that are reached through SSM, by the command `aws`; it has no way back.
# shellcheck source=SCRIPTDIR/lib.sh
. "${0%/*}/lib.sh"

units=(hypervisor.service container@sandbox-live.service container@sandbox-dev.service)

# answers NAME: from inside its container, where its port is.
answers() {
  [ "$(nixos-container run "sandbox-$1" -- curl --silent --max-time 2 --write-out '%{http_code}' \
    http://127.0.0.1:8080/health >/run/deploy.answer && tail --bytes=3 /run/deploy.answer)" = 200 ] &&
    grep --quiet '"status":"healthy"' /run/deploy.answer &&
    grep --quiet "\"instance_role\":\"$1\"" /run/deploy.answer
}

invocation() {
  aws ssm get-command-invocation --command-id "$1" --instance-id "$SWITCHPROOF_INSTANCE_ID" --query "$2" --output text
}

# Sends what it reads as one command, waits for its end, prints the answer as JSON, `aws`'s default, and ends as it did.
connect() {
  local script id status tries
  script="echo $(base64 --wrap=0) | base64 --decode | bash -euo pipefail -s"
  id=$(aws ssm send-command --instance-ids "$SWITCHPROOF_INSTANCE_ID" --document-name AWS-RunShellScript \
    --parameters "$(jq --null-input --arg script "$script" '{commands: [$script]}')" --query Command.CommandId --output text)
  for ((tries = 0; tries < 60; tries++)); do
    sleep 0.5
    status=$(invocation "$id" Status 2>/dev/null || echo Pending)
    case $status in Pending | InProgress | Delayed) ;; *) break ;; esac
  done
  aws ssm get-command-invocation --command-id "$id" --instance-id "$SWITCHPROOF_INSTANCE_ID"
  [ "$status" = Success ]
}

go
