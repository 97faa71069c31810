#!/usr/bin/env bash
# The image runs this once, after roles.sql: each role gets its password from the environment.
set -euo pipefail
for service in projector windows billing api auditor; do
  variable=POSTGRES_${service^^}_PASSWORD
  if [[ -n ${!variable:-} ]]; then
    psql --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
      --set role="hokusai_$service" --set password="${!variable}" <<<"ALTER ROLE :\"role\" PASSWORD :'password';"
  fi
done
