//! What is public.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use holdall_proto::FILE_DESCRIPTOR_SET;
use holdall_runtime::BoxError;
use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet};

/// The services for users, and where they are. What is not here, anybody is told, does not exist.
const PUBLIC: [(&str, Service); 13] = [
    ("holdall.auth.v1.AccountService", Service::Auth),
    ("holdall.auth.v1.SessionService", Service::Auth),
    ("holdall.auth.v1.KeyService", Service::Auth),
    ("holdall.metadata.v1.SpaceService", Service::Metadata),
    ("holdall.metadata.v1.NodeService", Service::Metadata),
    ("holdall.metadata.v1.ContentService", Service::Metadata),
    ("holdall.metadata.v1.LinkService", Service::Metadata),
    ("holdall.metadata.v1.BufferService", Service::Metadata),
    ("holdall.metadata.v1.ChangeService", Service::Metadata),
    ("holdall.metadata.v1.AdminService", Service::Metadata),
    ("holdall.blob.v1.BlobService", Service::BlobControl),
    ("holdall.blob.v1.AdminService", Service::BlobControl),
    (HEALTH, Service::Local),
];

/// In the package `grpc.health.v1`.
const HEALTH: &str = "grpc.health.v1.Health";
/// In the packages `grpc.reflection.v1` and `grpc.reflection.v1alpha`.
const REFLECTION: [&str; 2] =
    ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];

/// Methods of these that are for nobody outside.
const CLOSED: [&str; 1] = ["/holdall.auth.v1.AccountService/GetImportedCredential"];

/// Methods to which a secret of few bits is enough.
const GUESSES: [&str; 2] =
    ["/holdall.metadata.v1.LinkService/OpenLink", "/holdall.metadata.v1.LinkService/DeleteByLink"];

/// Not streamed, and yet as long as the content: it may read all of it again.
const LONG: [&str; 1] = ["/holdall.blob.v1.BlobService/FinishUpload"];

/// Answers without an end.
const ENDLESS: [&str; 1] = ["/holdall.blob.v1.AdminService/WatchJobs"];

/// The field for the client's network address, which is the gateway's to say.
const ADDRESS: &str = "client_address";

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Accounts and sessions.
    Auth,
    /// Folders, files, links.
    Metadata,
    /// Bytes: calls that take as long as they take.
    Blob,
    /// Bytes: short calls.
    BlobControl,
    /// The gateway itself.
    Local,
}

impl Service {
    /// Whether it looks at access tokens. Blob has grants for that.
    pub fn takes_tokens(self) -> bool {
        matches!(self, Self::Auth | Self::Metadata)
    }
}

/// A public method.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// `/package.Service/Method`.
    pub path: &'static str,
    /// Who does it.
    pub service: Service,
    /// Whether the client sends any number of messages, rather than one.
    pub streams: bool,
    /// The number of the field for the client's network address, where the request has one.
    pub address: Option<u32>,
    /// Whether somebody could call it to guess.
    pub is_guess: bool,
    /// Whether its answer ends only when the client or the process does.
    pub is_endless: bool,
}

/// All public methods.
pub struct Methods {
    by_path: HashMap<&'static str, Method>,
    services: BTreeMap<String, Service>,
    descriptors: FileDescriptorSet,
}

impl Methods {
    /// Those of our contract, and health and reflection.
    ///
    /// # Errors
    /// When one of the descriptions cannot be read.
    pub fn of_contract() -> Result<Self, BoxError> {
        let mut set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET)?;
        set.file.extend(FileDescriptorSet::decode(tonic_health::pb::FILE_DESCRIPTOR_SET)?.file);
        retain_public(&mut set);
        let mut methods = Self {
            by_path: HashMap::new(),
            services: BTreeMap::new(),
            descriptors: FileDescriptorSet::default(),
        };
        methods.add(&set, service_of);
        methods.descriptors = set;
        for reflection in [
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ] {
            let set = FileDescriptorSet::decode(reflection)?;
            methods.add(&set, |name| REFLECTION.contains(&name).then_some(Service::Local));
        }
        Ok(methods)
    }

    /// The method with that path.
    pub fn find(&self, path: &str) -> Option<Method> {
        self.by_path.get(path).copied()
    }

    /// The paths of all.
    pub fn paths(&self) -> impl Iterator<Item = &'static str> {
        self.by_path.keys().copied()
    }

    /// The full names of all services, and who does what they offer.
    pub fn services(&self) -> &BTreeMap<String, Service> {
        &self.services
    }

    /// What is public, described; without reflection itself.
    pub fn descriptors(&self) -> &FileDescriptorSet {
        &self.descriptors
    }

    fn add(&mut self, set: &FileDescriptorSet, service_of: impl Fn(&str) -> Option<Service>) {
        let addresses = addresses(set);
        for file in &set.file {
            for service in &file.service {
                let name = format!("{}.{}", file.package(), service.name());
                let Some(part) = service_of(&name) else { continue };
                for method in &service.method {
                    let path = format!("/{name}/{}", method.name());
                    let streams = method.client_streaming() || method.server_streaming();
                    let is_long = streams || LONG.contains(&path.as_str());
                    // As many as the contract has, once for each start.
                    let path: &'static str = path.leak();
                    let method = Method {
                        path,
                        service: match part {
                            Service::BlobControl if is_long => Service::Blob,
                            part => part,
                        },
                        streams: method.client_streaming(),
                        address: addresses.get(method.input_type()).copied(),
                        is_guess: GUESSES.contains(&path),
                        is_endless: ENDLESS.contains(&path) || part == Service::Local,
                    };
                    self.by_path.insert(path, method);
                }
                self.services.insert(name, part);
            }
        }
    }
}

fn service_of(name: &str) -> Option<Service> {
    PUBLIC.iter().find(|(public, _)| *public == name).map(|(_, service)| *service)
}

/// Takes out what is not public: services, methods, and files that nothing public needs.
fn retain_public(set: &mut FileDescriptorSet) {
    for file in &mut set.file {
        let package = file.package().to_owned();
        file.service.retain_mut(|service| {
            let name = format!("{package}.{}", service.name());
            service.method.retain(|method| !CLOSED.contains(&&*format!("/{name}/{}", method.name())));
            service_of(&name).is_some()
        });
    }
    let mut needed = BTreeSet::new();
    let mut open: Vec<&FileDescriptorProto> =
        set.file.iter().filter(|file| !file.service.is_empty()).collect();
    while let Some(file) = open.pop() {
        if needed.insert(file.name().to_owned()) {
            open.extend(set.file.iter().filter(|other| file.dependency.contains(&other.name().to_owned())));
        }
    }
    set.file.retain(|file| needed.contains(file.name()));
}

/// Messages with a field for the client's address, by their full names (`.package.Message`), and the field's number.
fn addresses(set: &FileDescriptorSet) -> HashMap<String, u32> {
    let mut addresses = HashMap::new();
    for file in &set.file {
        for message in &file.message_type {
            let field = message.field.iter().find(|field| field.name() == ADDRESS);
            if let Some(number) = field.and_then(|field| u32::try_from(field.number()).ok()) {
                addresses.insert(format!(".{}.{}", file.package(), message.name()), number);
            }
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those of the contract that only other services call.
    const INTERNAL: [&str; 3] = [
        "holdall.auth.v1.DelegationService",
        "holdall.metadata.v1.RootsService",
        "holdall.metadata.v1.FreshnessService",
    ];

    fn all() -> FileDescriptorSet {
        FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap()
    }

    #[test]
    fn of_every_service_it_is_said_whether_it_is_public() {
        let methods = Methods::of_contract().unwrap();
        let mut seen = 0;
        for file in &all().file {
            for service in &file.service {
                let name = format!("{}.{}", file.package(), service.name());
                let is_public = methods.services().contains_key(&name);
                assert!(is_public != INTERNAL.contains(&name.as_str()), "{name} is neither or both");
                for method in &service.method {
                    let path = format!("/{name}/{}", method.name());
                    let is_open = is_public && !CLOSED.contains(&path.as_str());
                    assert_eq!(methods.find(&path).is_some(), is_open, "{path}");
                    seen += usize::from(is_open);
                }
            }
        }
        // Check and Watch; two versions of reflection.
        assert_eq!(methods.paths().count(), seen + 2 + 2);
        for (name, _) in PUBLIC {
            assert!(methods.services().contains_key(name), "{name} is gone");
        }
        for path in GUESSES.iter().chain(&LONG).chain(&ENDLESS) {
            assert!(methods.find(path).is_some(), "{path} is gone");
        }
        assert!(methods.find("/holdall.auth.v1.AccountService/").is_none());
    }

    #[test]
    fn content_goes_apart_from_short_calls() {
        let methods = Methods::of_contract().unwrap();
        for (path, service, streams) in [
            ("/holdall.blob.v1.BlobService/Write", Service::Blob, true),
            ("/holdall.blob.v1.BlobService/Read", Service::Blob, false),
            ("/holdall.blob.v1.BlobService/FinishUpload", Service::Blob, false),
            ("/holdall.blob.v1.BlobService/GetUpload", Service::BlobControl, false),
            ("/holdall.blob.v1.AdminService/WatchJobs", Service::Blob, false),
            ("/holdall.blob.v1.AdminService/ListJobs", Service::BlobControl, false),
            ("/holdall.metadata.v1.NodeService/GetNode", Service::Metadata, false),
            ("/grpc.health.v1.Health/Check", Service::Local, false),
            ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Service::Local, true),
        ] {
            let method = methods.find(path).unwrap();
            assert_eq!((method.service, method.streams), (service, streams), "{path}");
        }
    }

    #[test]
    fn who_is_limited_by_address_has_one() {
        let methods = Methods::of_contract().unwrap();
        let with: BTreeSet<_> = methods
            .by_path
            .values()
            .filter(|method| method.address.is_some())
            .map(|method| method.path)
            .collect();
        let expected = [
            "/holdall.auth.v1.AccountService/ChangeEmail",
            "/holdall.auth.v1.AccountService/ChangePassword",
            "/holdall.auth.v1.AccountService/DeleteAccount",
            "/holdall.auth.v1.AccountService/Register",
            "/holdall.auth.v1.SessionService/CreateSession",
        ];
        assert_eq!(with, BTreeSet::from(expected));
        assert_eq!(methods.find(expected[3]).unwrap().address, Some(5));
    }

    #[test]
    fn what_is_not_public_is_not_described() {
        let methods = Methods::of_contract().unwrap();
        let text = format!("{:?}", methods.descriptors());
        for name in ["RootsService", "DelegationService", "\"GetImportedCredential\"", "\"ReadGrant\""] {
            assert!(!text.contains(name), "{name}");
        }
        for name in ["\"RegisterRequest\"", "\"Timestamp\"", "\"NodeService\"", "\"Health\""] {
            assert!(text.contains(name), "{name}");
        }
    }
}
