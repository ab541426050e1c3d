# shellcheck shell=bash
# SQL in the databases of a demo that a test runs with plain processes. Needs settings.sh, loaded.

# in_database PORT SQL
in_database() {
  PGPASSWORD=$POSTGRES_PASSWORD psql --host=127.0.0.1 --port="$1" --username=postgres --dbname=transactions \
    --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --command="$2"
}
in_a() { in_database "$POSTGRES_A_PORT" "$1"; }
in_b() { in_database "$POSTGRES_B_PORT" "$1"; }
