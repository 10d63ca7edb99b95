//! Completions and manual pages, made from the command line's types.

use crate::{
    cli::{Cli, CompletionsArgs, ManArgs},
    output,
};
use anyhow::Context;
use clap::CommandFactory;

/// `ringseed completions`
pub fn completions(args: CompletionsArgs) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "ringseed", &mut script);
    output::print(&String::from_utf8_lossy(&script))
}

/// `ringseed man`
pub fn man(args: ManArgs) -> anyhow::Result<()> {
    match args.dir {
        Some(dir) => {
            std::fs::create_dir_all(&dir)
                .with_context(|| format!("cannot make {}", dir.display()))?;
            clap_mangen::generate_to(Cli::command(), &dir)
                .with_context(|| format!("cannot write to {}", dir.display()))
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            output::print(&String::from_utf8_lossy(&page))
        }
    }
}
