//! Certificates and keys: those of the files, and the server's.

use super::security::{Mode, Security, is_system};
use crate::config::Given;
use crate::pem;
use anyhow::{Context, Result, bail, ensure};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

/// The name of PostgreSQL's protocol within TLS.
pub(super) const PROTOCOL: &[u8] = b"postgresql";

/// What a connection needs of the files, read now.
pub(super) fn client_config(security: &Security) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier::of(security, provider)?));
    let mut config = match &security.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let (certificates, private) = (pem::certificates(certificate)?, private_key(key)?);
            builder
                .with_client_auth_cert(certificates, private)
                .with_context(|| format!("{certificate} and {key} do not go together"))?
        }
    };
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn private_key(file: &Given) -> Result<PrivateKeyDer<'static>> {
    require_private(&file.value).with_context(|| pem::cannot_be_used(file))?;
    pem::private_key(file)
}

/// As libpq: a key of root's may be readable by a group, any other by its owner only.
fn require_private(path: &str) -> Result<()> {
    let metadata = std::fs::metadata(path)?;
    ensure!(metadata.is_file(), "it is not a file");
    let (forbidden, allowed) = if metadata.uid() == 0 { (0o037, "0640") } else { (0o077, "0600") };
    if metadata.mode() & forbidden != 0 {
        bail!("others can read or write this private key: chmod {allowed} {path}, or less");
    }
    Ok(())
}

fn authorities(given: &Given) -> Result<RootCertStore> {
    if is_system(given) {
        return pem::authorities_of_this_machine().with_context(|| pem::cannot_be_used(given));
    }
    pem::authorities(given)
}

/// Judges the server's certificate by what is asked.
#[derive(Debug)]
struct Verifier {
    /// None: any certificate will do.
    chain: Option<Arc<WebPkiServerVerifier>>,
    checks_name: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn of(security: &Security, provider: Arc<CryptoProvider>) -> Result<Verifier> {
        let algorithms = provider.signature_verification_algorithms;
        let chain = match &security.authorities {
            Some(given) if security.verifies() => {
                let mut builder =
                    WebPkiServerVerifier::builder_with_provider(Arc::new(authorities(given)?), provider);
                if let Some(lists) = &security.revoked {
                    builder =
                        builder.with_crls(pem::revocation_lists(lists)?).enforce_revocation_expiration();
                }
                Some(builder.build().context("set up the check of certificates")?)
            }
            _ => None,
        };
        Ok(Verifier { chain, checks_name: security.mode == Mode::VerifyFull, algorithms })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        // The name is the last thing that is looked at: all else is right by then.
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.checks_name => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
