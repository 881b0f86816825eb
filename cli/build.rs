//! Puts the example folder into the binary, so that `tidegate demo` works anywhere.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root =
        Path::new(&env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?).join("../examples/haikou");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut table = String::from("&[\n");
    for file in files(&root)? {
        let name = file.strip_prefix(&root).map_err(io::Error::other)?;
        let path = file.canonicalize()?;
        writeln!(
            table,
            "    ({:?}, include_str!({:?})),",
            name.display().to_string(),
            path.display().to_string()
        )
        .map_err(io::Error::other)?;
    }
    table.push_str("]\n");
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?);
    fs::write(out.join("example.rs"), table)
}

/// All files below `folder`, sorted, so that equal trees make equal binaries.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}
