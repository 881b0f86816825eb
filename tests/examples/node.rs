//! A real cluster to try by hand, with the images named on the command line: prints how to enter it, and ends with
//! its standard input.

use std::io::Read as _;

fn main() {
    let Some(mut node) = tidegate_tests::node::start_or_skip() else { return };
    for image in std::env::args().skip(1) {
        node.import(image.as_ref()).unwrap_or_else(|error| panic!("{error}"));
    }
    node.start_metrics().unwrap_or_else(|error| panic!("{error}"));
    let shell = node.place().command("bash");
    println!("export KUBECONFIG={}/admin.kubeconfig", node.plane().files().display());
    println!("{shell:?}");
    eprintln!("Ctrl-D ends it.");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
