//! What ties a login to the TLS connection that it comes through (`channel_binding`, RFC 5929): a server in between has
//! another certificate.

use ring::digest::{Algorithm, SHA256, SHA384, SHA512, digest};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::oid::ObjectIdentifier;

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

/// The signatures of certificates, with the digest that each has in it; MD5 and SHA-1 count as SHA-256. Those with none
/// (Ed25519) or with a choice (RSA-PSS) have no binding, as in libpq.
const SIGNATURES: [(ObjectIdentifier, &Algorithm); 8] = [
    (oid("1.2.840.113549.1.1.4"), &SHA256),
    (oid("1.2.840.113549.1.1.5"), &SHA256),
    (oid("1.2.840.113549.1.1.11"), &SHA256),
    (oid("1.2.840.113549.1.1.12"), &SHA384),
    (oid("1.2.840.113549.1.1.13"), &SHA512),
    (oid("1.2.840.10045.4.3.2"), &SHA256),
    (oid("1.2.840.10045.4.3.3"), &SHA384),
    (oid("1.2.840.10045.4.3.4"), &SHA512),
];

/// The digest of a server's certificate (DER) for `tls-server-end-point`; none where the standard names none.
pub(super) fn of_certificate(certificate: &[u8]) -> Option<Vec<u8>> {
    let signature = Certificate::from_der(certificate).ok()?.signature_algorithm.oid;
    let (_, algorithm) = SIGNATURES.iter().find(|(known, _)| *known == signature)?;
    Some(digest(algorithm, certificate).as_ref().to_vec())
}
