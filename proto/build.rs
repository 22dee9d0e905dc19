//! Compiles the `.proto` files with `protox`, so that no `protoc` has to be installed.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 17] = [
    "holdall/error/v1/error.proto",
    "holdall/auth/v1/account.proto",
    "holdall/auth/v1/session.proto",
    "holdall/auth/v1/key.proto",
    "holdall/auth/v1/delegation.proto",
    "holdall/metadata/v1/node.proto",
    "holdall/metadata/v1/space.proto",
    "holdall/metadata/v1/content.proto",
    "holdall/metadata/v1/link.proto",
    "holdall/metadata/v1/buffer.proto",
    "holdall/metadata/v1/change.proto",
    "holdall/metadata/v1/roots.proto",
    "holdall/metadata/v1/freshness.proto",
    "holdall/metadata/v1/admin.proto",
    "holdall/blob/v1/blob.proto",
    "holdall/blob/v1/grant.proto",
    "holdall/blob/v1/admin.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=holdall");
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(FILES)?;

    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let descriptors = compiler.file_descriptor_set();
    // Comments are for readers of the source; reflection does without them.
    let mut bare = descriptors.clone();
    bare.file.iter_mut().for_each(|file| file.source_code_info = None);
    fs::write(out.join("holdall.bin"), bare.encode_to_vec())?;

    tonic_prost_build::configure()
        .bytes(".")
        .codec_path("crate::codec::MessageCodec")
        .compile_fds(descriptors)?;
    Ok(())
}
