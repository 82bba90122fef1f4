//! The comments of `default.toml`: what a mistake quotes, and what a test demands of every key.

use super::settings::DEFAULT;

/// What the comment above `path` says, on one line.
pub(super) fn about(path: &str) -> Option<String> {
    annotations()
        .into_iter()
        .find(|(known, _)| known == path)
        .map(|(_, text)| text)
        .filter(|it| !it.is_empty())
}

/// Every key of the file with the comment above it.
pub(super) fn annotations() -> Vec<(String, String)> {
    let (mut section, mut comment, mut all) = (String::new(), Vec::new(), Vec::new());
    for line in DEFAULT.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix('#') {
            comment.push(text.trim());
        } else if let Some(name) = line.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            name.clone_into(&mut section);
            comment.clear();
        } else if let Some((key, _)) = line.split_once('=') {
            let path =
                if section.is_empty() { key.trim().into() } else { format!("{section}.{}", key.trim()) };
            all.push((path, comment.join(" ")));
            comment.clear();
        } else {
            comment.clear();
        }
    }
    all
}
