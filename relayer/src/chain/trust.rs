//! Certificate authorities that endpoints are checked against: the public ones, and the operator's own.

use std::{fmt, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Certificate authorities trusted beside the public ones.
#[derive(Clone, Default)]
pub struct RootCertificates(Vec<CertificateDer<'static>>);

impl fmt::Debug for RootCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootCertificates({} of the operator)", self.0.len())
    }
}

impl RootCertificates {
    /// Reads a file of certificates in PEM.
    ///
    /// # Errors
    /// A sentence with the reason, where the file cannot be read or holds no usable certificate.
    pub fn from_file(path: &Path) -> Result<Self, String> {
        let pem = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<_, _>>()
            .map_err(|error| format!("{} is no PEM file: {error}", path.display()))?;
        if certificates.is_empty() {
            return Err(format!("{} holds no certificate; write one or more in PEM into it", path.display()));
        }
        // What cannot be an authority is found now.
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            let refused = |error| format!("{} holds a certificate that cannot be used: {error}", path.display());
            roots.add(certificate.clone()).map_err(refused)?;
        }
        Ok(Self(certificates))
    }

    /// TLS settings of a connection.
    pub(super) fn tls(&self) -> Result<ClientConfig, rustls::Error> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for certificate in &self.0 {
            roots.add(certificate.clone())?;
        }
        Ok(ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth())
    }
}
