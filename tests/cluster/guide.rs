//! A page of the guide as a program: what stands in `sh` blocks is executed, and a `text` block that follows one is
//! what it has to print.

use std::fs;
use std::os::unix::fs::symlink;

use tidegate_tests::node::Node;
use tidegate_tests::programs;
use tidegate_tests::tree::root;

/// Where commands of ours are, in that directory.
const COMMANDS: &str = ".commands";

/// A page, and a directory that looks like the root of the repository to run it in.
pub(crate) struct Guide {
    path: &'static str,
    blocks: Vec<Block>,
    directory: tempfile::TempDir,
}

struct Block {
    heading: String,
    line: usize,
    script: String,
    prints: Option<String>,
}

impl Guide {
    /// Reads a page of the repository.
    pub(crate) fn read(path: &'static str) -> Self {
        let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        // What the page writes beside the files it reads is not to lie in the repository.
        let directory = tempfile::tempdir().expect("a directory");
        for entry in fs::read_dir(root()).into_iter().flatten().flatten() {
            symlink(entry.path(), directory.path().join(entry.file_name())).expect("a link");
        }
        let tidegate = programs::own("tidegate").unwrap_or_else(|error| panic!("{error}"));
        fs::create_dir(directory.path().join(COMMANDS)).expect("a directory");
        for name in ["tidegate", "kubectl-tidegate"] {
            symlink(&tidegate, directory.path().join(COMMANDS).join(name)).expect("a link");
        }
        Self { path, blocks: blocks(&text), directory }
    }

    /// A file that the page has written.
    pub(crate) fn file(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// Runs all blocks below a heading, and returns what each printed.
    pub(crate) fn run(&self, node: &Node, heading: &str) -> Vec<String> {
        (0..self.below(heading).len()).map(|index| self.run_block(node, heading, index)).collect()
    }

    /// Runs one of the blocks below a heading, and returns what it printed.
    pub(crate) fn run_block(&self, node: &Node, heading: &str, index: usize) -> String {
        let block = self.below(heading)[index];
        let at = format!("{}:{}", self.path, block.line);
        let script = format!(
            "set -euo pipefail; cd {}; PATH=$PWD/{COMMANDS}:$PATH; {}",
            self.directory.path().display(),
            block.script
        );
        let printed = node.plane().run(node.place().command("bash").args(["-c", &script]), "");
        let printed = printed.unwrap_or_else(|error| panic!("{at}: {error}\n{}", node.describe()));
        if let Some(prints) = &block.prints {
            assert_eq!(printed.trim_end(), prints.trim_end(), "{at}: this is not what it prints");
        }
        printed
    }

    fn below(&self, heading: &str) -> Vec<&Block> {
        let found: Vec<&Block> = self.blocks.iter().filter(|block| block.heading == heading).collect();
        assert!(!found.is_empty(), "{} has no commands below `{heading}`", self.path);
        found
    }
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut heading = "";
    // Whether the last block was followed by nothing but an empty line.
    let mut follows = false;
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(title) = line.strip_prefix("## ") {
            heading = title;
        }
        let Some(language) = line.strip_prefix("```") else {
            follows = follows && line.is_empty();
            continue;
        };
        let inside: Vec<&str> =
            lines.by_ref().map(|(_, line)| line).take_while(|line| !line.starts_with("```")).collect();
        let inside = inside.join("\n");
        match (language, blocks.last_mut()) {
            ("sh", _) => {
                let heading = heading.to_owned();
                blocks.push(Block { heading, line: number + 2, script: inside, prints: None });
            }
            ("text", Some(block)) if follows => block.prints = Some(inside),
            _ => {}
        }
        follows = language == "sh";
    }
    blocks
}
