#!/usr/bin/env bash
# The old entry point's way: send one script to one instance with AWS's command line, and ask every ten seconds.
# ssm_entry.sh SCRIPT [NAME=VALUE…]: DEPLOY_INSTANCE_ID and AWS's own variables say where.
set -euo pipefail
script=$1
shift
parameters=$(python3 -c 'import json, sys
print(json.dumps({"commands": [f"export {one}" for one in sys.argv[2:]] + [open(sys.argv[1]).read()]}))' "$script" "$@")
command=$(aws ssm send-command --instance-ids "$DEPLOY_INSTANCE_ID" --document-name AWS-RunShellScript \
  --parameters "$parameters" --query Command.CommandId --output text)
while :; do
  sleep 10
  status=$(aws ssm get-command-invocation --command-id "$command" --instance-id "$DEPLOY_INSTANCE_ID" \
    --query Status --output text)
  case $status in
    Pending | InProgress | Delayed) ;;
    *) break ;;
  esac
done
aws ssm get-command-invocation --command-id "$command" --instance-id "$DEPLOY_INSTANCE_ID" \
  --query '[StandardOutputContent, StandardErrorContent]' --output text
[ "$status" = Success ]
