//! What is wrong with a configuration: what, where, and how to mend it; all of it at once.

use std::{error::Error, fmt};

use super::settings::Origin;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The setting: `http.listen`.
    pub key: String,
    /// Where its value came from, if it was given.
    pub origin: Option<Origin>,
    /// What is wrong with it. Never repeats a secret.
    pub what: String,
    /// How to mend it.
    pub mend: String,
}

/// Everything that is wrong.
#[derive(Debug, Clone, Default)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// Adds one.
    pub fn push(&mut self, mistake: Mistake) {
        self.0.push(mistake);
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The mistakes, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let things =
            if self.0.len() == 1 { "one mistake".into() } else { format!("{} mistakes", self.0.len()) };
        writeln!(f, "the configuration has {things}; nothing was started.")?;
        for Mistake { key, origin, what, mend } in &self.0 {
            writeln!(f)?;
            match origin {
                Some(origin) => writeln!(f, "  {key}   (from: {origin})")?,
                None => writeln!(f, "  {key}")?,
            }
            writeln!(f, "    wrong: {what}")?;
            writeln!(f, "    mend:  {mend}")?;
        }
        Ok(())
    }
}

impl Error for Mistakes {}
