#!/bin/sh
# The stand-in's docker-entrypoint.sh, as in the official image of NATS. For testing only.
set -e
case ${1:-} in
  -*) set -- nats-server "$@" ;;
esac
exec "$@"
