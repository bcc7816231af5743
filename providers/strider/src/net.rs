use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use towpath_core::{Error, ErrorKind, Result};

use crate::address::Address;
use crate::provider::STRIDER;

/// A connection, with or without TLS.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Opens connections to the server, for requests and for the websocket alike.
#[derive(Clone)]
pub(crate) struct Net {
    pub(crate) address: Address,
    tls: Option<TlsConnector>,
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Net({})", self.address.shown())
    }
}

impl Net {
    /// Nothing is opened yet.
    pub(crate) fn new(address: Address, ca_file: Option<&Path>) -> Result<Self> {
        let tls = if address.tls { Some(connector(ca_file)?) } else { None };
        Ok(Self { address, tls })
    }

    pub(crate) async fn dial(&self) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect((self.address.host.as_str(), self.address.port)).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(self.address.host.clone()).map_err(io::Error::other)?;
        Ok(Box::new(tls.connect(name, stream).await?))
    }
}

/// The system's authorities, and those of a file.
fn connector(ca_file: Option<&Path>) -> Result<TlsConnector> {
    let wrong = |message: &str| Error::new(ErrorKind::InvalidInput, STRIDER, "config", message);
    let mut extra = Vec::new();
    if let Some(file) = ca_file {
        let unreadable =
            |e| wrong("`ca_file` can't be read as PEM").with("file", file.display()).caused_by(format!("{e}"));
        for one in CertificateDer::pem_file_iter(file).map_err(unreadable)? {
            extra.push(one.map_err(unreadable)?);
        }
        if extra.is_empty() {
            return Err(wrong("`ca_file` holds no certificate").with("file", file.display()));
        }
    }
    let crypto = Arc::new(rustls::crypto::ring::default_provider());
    let internal = |e: rustls::Error| wrong("TLS can't be set up with the certificates of this system").caused_by(e);
    let verifier =
        rustls_platform_verifier::Verifier::new_with_extra_roots(extra, Arc::clone(&crypto)).map_err(internal)?;
    let config = rustls::ClientConfig::builder_with_provider(crypto)
        .with_safe_default_protocol_versions()
        .map_err(internal)?
        // The platform's verifier is a custom one for rustls; it verifies.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
