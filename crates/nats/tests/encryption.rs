//! Encrypted connections: with which certificates they are made, and with which not.

mod server;

use multiproc_nats::{Builder, ConnectError, RemoteQueue};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use server::proxy::Proxy;
use std::fs;
use std::path::PathBuf;

type Jobs = RemoteQueue<String>;

/// An authority, and a directory with what it certifies.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("roots"), issuer.pem()).unwrap();
        Self { issuer, directory }
    }

    fn roots(&self) -> PathBuf {
        self.directory.path().join("roots")
    }

    /// A certificate and its key, for this host.
    fn certify(&self, host: &str) -> (PathBuf, PathBuf) {
        let (key, params) = (KeyPair::generate().unwrap(), CertificateParams::new(vec![host.to_string()]).unwrap());
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let paths = (self.directory.path().join(format!("{host}.pem")), self.directory.path().join(format!("{host}.key")));
        fs::write(&paths.0, certificate.pem()).unwrap();
        fs::write(&paths.1, key.serialize_pem()).unwrap();
        paths
    }

    /// The configuration of a server that shows a certificate for this host.
    fn config(&self, host: &str, more: &str) -> String {
        let (certificate, key) = self.certify(host);
        format!("tls {{ cert_file: {certificate:?}, key_file: {key:?}, ca_file: {:?}{more} }}", self.roots())
    }

    fn trusted(&self) -> Builder<String> {
        Jobs::builder().root_certificates(self.roots())
    }
}

fn tls(url: &str) -> String {
    url.replace("nats://", "tls://")
}

#[test]
fn values_and_passwords_go_encrypted_to_a_server_that_is_trusted() {
    let authority = Authority::new();
    let config = r#"authorization { users = [ { user: "ann", password: "hunter2-secret" } ] }"#;
    let mut server = server!(authority.config("127.0.0.1", "") + "\n" + config);
    let proxy = Proxy::to(server.port);
    let jobs = authority.trusted().user("ann", "hunter2-secret").connect(&tls(&proxy.url("jobs"))).unwrap();
    jobs.put("a plain value".into()).unwrap();
    // The next connection is as the first one.
    server.kill();
    server.restart();
    jobs.put("a plain value".into()).unwrap();
    for _ in 0..2 {
        assert_eq!(jobs.get_delivery().unwrap().done().unwrap(), "a plain value");
    }
    let seen = String::from_utf8_lossy(&proxy.seen()).into_owned();
    // What the server says before they encrypt.
    assert!(seen.contains("tls_required"), "{seen}");
    assert!(!seen.contains("a plain value") && !seen.contains("hunter2"), "{seen}");
}

#[test]
fn a_server_that_no_trusted_authority_knows_is_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = server!(authority.config("127.0.0.1", ""));
    for builder in [Jobs::builder(), other.trusted()] {
        let error = builder.connect(&tls(&server.url("jobs"))).unwrap_err();
        assert!(matches!(error, ConnectError::Unreachable { .. }) && error.to_string().contains("certificate"), "{error}");
    }
}

#[test]
fn a_certificate_of_another_host_is_refused() {
    let authority = Authority::new();
    let server = server!(authority.config("other.example", ""));
    let error = authority.trusted().connect(&tls(&server.url("jobs"))).unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }) && error.to_string().contains("certificate"), "{error}");
}

#[test]
fn a_client_shows_its_certificate_to_a_server_that_asks() {
    let authority = Authority::new();
    let server = server!(authority.config("127.0.0.1", ", verify: true"));
    authority.trusted().connect(&tls(&server.url("jobs"))).unwrap_err();
    let (certificate, key) = authority.certify("client.example");
    let jobs = authority.trusted().client_certificate(certificate, key).connect(&tls(&server.url("jobs"))).unwrap();
    jobs.put("job".into()).unwrap();
    // It travels as the paths of its files.
    let parcel = multiproc_travel::pass::encode(&jobs).unwrap();
    let arrived: Jobs = multiproc_travel::pass::decode(&parcel.bytes, Vec::new()).unwrap();
    assert_eq!(arrived.get_delivery().unwrap().done().unwrap(), "job");
}
