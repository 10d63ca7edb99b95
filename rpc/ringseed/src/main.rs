//! The `ringseed` program.

fn main() {}
