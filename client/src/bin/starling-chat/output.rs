//! Standard output: lines for people, or JSON objects.

use crate::failure::Failure;
use serde_json::Value;
use std::io::{IsTerminal, Write};

/// Where results go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// JSON instead of text.
    pub(crate) json: bool,
    /// Marks for a terminal may be used.
    styled: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        let styled = !json && std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { json, styled }
    }

    /// Prints a line for people; nothing with `--json`.
    pub(crate) fn text(self, line: &str) -> Result<(), Failure> {
        if self.json { Ok(()) } else { print(line) }
    }

    /// Prints an object; nothing without `--json`.
    pub(crate) fn object(self, object: &Value) -> Result<(), Failure> {
        if self.json { print(&object.to_string()) } else { Ok(()) }
    }

    /// Prints the one or the other.
    pub(crate) fn either(self, line: &str, object: &Value) -> Result<(), Failure> {
        if self.json { self.object(object) } else { self.text(line) }
    }

    /// Prints a note to standard error, for people only.
    pub(crate) fn note(self, line: &str) {
        if !self.json {
            eprintln!("{}", self.dim(line));
        }
    }

    /// Less important.
    pub(crate) fn dim(self, text: &str) -> String {
        self.marked("2", text)
    }

    /// More important.
    pub(crate) fn bold(self, text: &str) -> String {
        self.marked("1", text)
    }

    fn marked(self, code: &str, text: &str) -> String {
        if self.styled { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Prints rows under headings, aligned.
    pub(crate) fn table(self, headings: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
        let mut widths: Vec<usize> = headings.iter().map(|heading| heading.chars().count()).collect();
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let line = |cells: &[String]| {
            let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            padded.join("  ").trim_end().to_owned()
        };
        let headings: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
        self.text(&self.dim(&line(&headings)))?;
        rows.iter().try_for_each(|row| self.text(&line(row)))
    }
}

fn print(line: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|_| Failure::OutputClosed)
}
