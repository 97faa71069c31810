#!/usr/bin/env bash
# Makes the accounts of the services, with just the rights of rights.csv, by Kafka's own tools.
#
# KAFKA_ADMIN_SERVER     a listener whose callers may do everything
# KAFKA_TOPIC_PREFIX     as the services have it
# KAFKA_<NAME>_PASSWORD  of each account; those without one get none (SCRAM-SHA-512)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
prefix=${KAFKA_TOPIC_PREFIX:-}
PATH=$PATH:/opt/kafka/bin

for principal in api projector windows billing topics auditor operator emitter; do
  variable=KAFKA_${principal^^}_PASSWORD
  if [[ -n ${!variable:-} ]]; then
    kafka-configs.sh --bootstrap-server "$KAFKA_ADMIN_SERVER" --alter --entity-type users \
      --entity-name "$principal" --add-config "SCRAM-SHA-512=[password=${!variable}]"
  fi
done

while IFS=, read -r principals resource pattern names operations; do
  arguments=()
  for principal in $principals; do arguments+=(--allow-principal "User:$principal"); done
  case $resource in
    topic | group)
      for name in $names; do arguments+=("--$resource" "$prefix$name"); done
      arguments+=(--resource-pattern-type "$pattern")
      ;;
    cluster) arguments+=(--cluster) ;;
    *) continue ;; # the line of the names
  esac
  for operation in $operations; do arguments+=(--operation "$operation"); done
  kafka-acls.sh --bootstrap-server "$KAFKA_ADMIN_SERVER" --add --force "${arguments[@]}"
done <"$here/rights.csv"
