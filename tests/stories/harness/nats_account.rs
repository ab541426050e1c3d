//! An account of NATS in operator mode, and the credentials of a user of it, as `nsc` makes them.

use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

/// The settings of a server that knows the account, and a creds file.
pub(crate) fn nats_account() -> (String, String) {
    let (operator, account, system) =
        (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account());
    let user = KeyPair::new_user();
    let limits = json!({"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1});
    let of_account = json!({"limits": limits, "type": "account", "version": 2});
    let settings = format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload {{ {}: {}, {}: {} }}",
        token(&operator, &operator, &json!({"type": "operator", "version": 2})),
        system.public_key(),
        account.public_key(),
        token(&operator, &account, &of_account),
        system.public_key(),
        token(&operator, &system, &of_account),
    );
    let of_user =
        json!({"subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2, "pub": {}, "sub": {}});
    let creds = format!(
        "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        token(&account, &user, &of_user),
        user.seed().unwrap()
    );
    (settings, creds)
}

fn token(issuer: &KeyPair, subject: &KeyPair, nats: &Value) -> String {
    let subject = subject.public_key();
    let claims = json!({"jti": subject, "iat": 1, "iss": issuer.public_key(), "name": subject, "sub": subject, "nats": nats});
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let head = part(&json!({"typ": "JWT", "alg": "ed25519-nkey"}));
    let signed = format!("{head}.{}", part(&claims));
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
}
