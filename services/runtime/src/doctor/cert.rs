//! Certificates: that they can be used, and for how long.

use std::net::IpAddr;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use super::Report;
use crate::config::TlsConfig;
use crate::tls;

/// Who has less time left than this should renew.
const SOON: i64 = 14 * DAY;
const DAY: i64 = 24 * 3600;

impl Report {
    /// Looks at a certificate with its key.
    pub fn certificate(&mut self, name: &str, config: &TlsConfig) {
        if let Err(error) = tls::check(config) {
            self.wrong(name, error.to_string(), "put certificate and key there that belong together");
            return;
        }
        self.secret_file(&format!("{name}.key_file"), &config.key_file);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        self.expiry(&format!("{name}.cert_file"), &config.cert_file, now);
        if let Some(file) = &config.client_ca_file {
            self.expiry(&format!("{name}.client_ca_file"), file, now);
        }
    }

    /// Looks at how long the certificates in a file are valid, at that time in Unix seconds.
    pub(super) fn expiry(&mut self, name: &str, file: &Path, now: i64) {
        let certificates = match tls::certificates(file) {
            Ok(certificates) => certificates,
            Err(error) => return self.wrong(name, error.to_string(), "put a certificate there"),
        };
        for certificate in certificates {
            let Ok((_, parsed)) = parse_x509_certificate(&certificate) else {
                self.wrong(name, format!("{} makes no sense", file.display()), "put a certificate there");
                continue;
            };
            let names: Vec<String> = match parsed.subject_alternative_name() {
                Ok(Some(names)) => names.value.general_names.iter().filter_map(shown).collect(),
                _ => Vec::new(),
            };
            let who = if names.is_empty() { parsed.subject().to_string() } else { names.join(", ") };
            let validity = parsed.validity();
            let (begin, end) = (validity.not_before.timestamp(), validity.not_after.timestamp());
            let days = (end - now) / DAY;
            if now > end {
                self.wrong(
                    name,
                    format!("the certificate of {who} has expired ({})", validity.not_after),
                    "renew it",
                );
            } else if now < begin {
                let found = format!("the certificate of {who} is not valid before {}", validity.not_before);
                self.wrong(name, found, "check the clock");
            } else if end - now < SOON {
                self.warning(name, format!("the certificate of {who} expires in {days} days"), "renew it");
            } else {
                self.ok(name, format!("the certificate of {who} is valid for {days} days"));
            }
        }
    }
}

fn shown(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let ip = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            ip.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok().map(|ip| ip.to_string())
        }
        _ => None,
    }
}
