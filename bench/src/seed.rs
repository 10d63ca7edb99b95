use anyhow::Result;
#[derive(clap::Args)]
pub struct Seed {}
pub fn run(_: &Seed) -> Result<()> {
    Ok(())
}
