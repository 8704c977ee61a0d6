#!/bin/sh
# Makes the gateways' database when the server is new: owned by a plain role, for row-level security binds no superuser, and
# with pgvector, which only a superuser can add.
set -eu

psql -v ON_ERROR_STOP=1 -v password="$CONCIERGE_PASSWORD" -U "${POSTGRES_USER:-postgres}" -d postgres <<'SQL'
CREATE ROLE concierge LOGIN PASSWORD :'password';
CREATE DATABASE concierge OWNER concierge;
\connect concierge
CREATE EXTENSION vector;
SQL
