//! Files of certificates and keys, in PEM. Each error names the setting and the path, and shows nothing of the content.

use crate::config::Given;
use anyhow::{Context, Result, anyhow, ensure};
use rustls::RootCertStore;
use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

/// The certificates of a file, of which there is at least one.
pub(crate) fn certificates(file: &Given) -> Result<Vec<CertificateDer<'static>>> {
    all(file, "certificate")
}

/// The authorities of a file.
pub(crate) fn authorities(file: &Given) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(file)? {
        store.add(certificate).with_context(|| cannot_be_used(file))?;
    }
    Ok(store)
}

/// Those that this machine trusts.
pub(crate) fn authorities_of_this_machine() -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    // Of many, a few may be in a form that nobody reads any longer.
    store.add_parsable_certificates(found.certs);
    ensure!(!store.is_empty(), "this machine knows no certificate authority: {:?}", found.errors);
    Ok(store)
}

/// The lists of revoked certificates of a file, of which there is at least one.
pub(crate) fn revocation_lists(file: &Given) -> Result<Vec<CertificateRevocationListDer<'static>>> {
    all(file, "certificate revocation list")
}

/// The private key of a file: PKCS#8, PKCS#1 or SEC1.
pub(crate) fn private_key(file: &Given) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(&file.value).map_err(without_content).with_context(|| cannot_be_used(file))
}

/// What an error of this file begins with.
pub(crate) fn cannot_be_used(file: &Given) -> String {
    format!("{file} cannot be used")
}

fn all<T: PemObject>(file: &Given, what: &str) -> Result<Vec<T>> {
    let read = T::pem_file_iter(&file.value).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(without_content).with_context(|| cannot_be_used(file))?;
    ensure!(!found.is_empty(), "{}: it has no {what} in PEM", cannot_be_used(file));
    Ok(found)
}

fn without_content(error: Error) -> anyhow::Error {
    match error {
        Error::Io(error) => error.into(),
        Error::NoItemsFound => anyhow!("it has no private key in PEM, or one that is encrypted"),
        _ => anyhow!("it is damaged: its PEM cannot be read"),
    }
}
