//! What a command prints. A reader that closes the pipe early is not an error.

use std::io::{self, ErrorKind, Write};

/// Prints text as it is.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("cannot write the output"))
        }
        _ => Ok(()),
    }
}

/// Prints a value as JSON for people and programs.
pub fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// An error with its causes in one line; a cause whose text is in the line already is left out.
pub fn error_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for text in error.chain().map(|cause| crate::human::plain(&cause.to_string())) {
        if line.is_empty() {
            line = text;
        } else if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_that_repeats_nothing() {
        let error = anyhow::anyhow!("bad\nthing").context("got a bad?thing").context("file.x");
        assert_eq!(error_line(&error), "file.x: got a bad?thing");
    }
}
