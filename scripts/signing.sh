# shellcheck shell=bash
# The key with which the demo's services sign what they send each other (docs/security.md). Needs RUN_DIR.

# Exports where the keys are: a file of the user's own, or one that is made here once.
signing_key_export() {
  export NATS_SIGNING_KEY_FILE=${NATS_SIGNING_KEY_FILE:-$RUN_DIR/secrets/signing.keys}
  [[ ! -e $NATS_SIGNING_KEY_FILE && $NATS_SIGNING_KEY_FILE == "$RUN_DIR"/* ]] || return 0
  # In a container the service is another user, whom the directory does not keep out there.
  install --directory --mode=700 "$RUN_DIR/secrets"
  od --address-radix=n --format=x1 --read-bytes=32 /dev/urandom | tr --delete ' \n' >"$NATS_SIGNING_KEY_FILE.new"
  chmod 644 "$NATS_SIGNING_KEY_FILE.new"
  mv "$NATS_SIGNING_KEY_FILE.new" "$NATS_SIGNING_KEY_FILE"
}
