//! A page of the documentation, taken apart into what is pasted and what is said to come of it.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use super::{print, shell::Done};

/// One command and what a page says of it.
pub(super) struct Step {
    /// Where it begins, from 1.
    pub(super) line: usize,
    /// As it is pasted, its own comments included.
    pub(super) command: String,
    /// The comments around it, in which a status may be named.
    words: String,
    expected: Option<Expected>,
}

/// What a command prints.
enum Expected {
    Json(String),
    Text(String),
}

impl Step {
    /// What is not as the page says.
    pub(super) fn judge(&self, done: &Done) -> Option<String> {
        let command = &self.command;
        if done.code != 0 {
            return Some(format!("exit code {} of\n{command}\n{}", done.code, done.printed));
        }
        for call in &done.calls {
            let succeeded = call.status.starts_with('2');
            let is_named = !call.status.is_empty()
                && (self.words.contains(&call.status) || command.contains(&call.status));
            if !succeeded && !is_named && !call.shows_its_status() {
                return Some(format!("answered {}:\n{command}\n{}", call.status, done.printed));
            }
        }
        let differs = match &self.expected {
            None => None,
            Some(Expected::Json(json)) => print::json_differs(json, &done.printed),
            Some(Expected::Text(text)) => print::text_differs(text, &done.printed),
        };
        differs.map(|what| format!("{what}\nprinted by\n{command}\nwas\n{}", done.printed))
    }
}

/// The steps of a page: those of all its fences called `sh`.
pub(super) fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut lines = page.lines().enumerate().map(|(at, line)| (at + 1, line));
    // Whether nothing but blank lines came after a fence that was run.
    let mut below = false;
    while let Some((at, line)) = lines.next() {
        let Some(name) = line.trim_start().strip_prefix("```") else {
            below &= line.trim().is_empty();
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        let inside = lines.by_ref().take_while(|(_, line)| line.trim() != "```");
        let text: Vec<&str> = inside.map(|(_, line)| line.get(indent..).unwrap_or_default()).collect();
        let printed = match name {
            "json" => Some(Expected::Json(text.join("\n"))),
            "text" => Some(Expected::Text(text.join("\n"))),
            _ => None,
        };
        if below
            && printed.is_some()
            && let Some(step) = steps.last_mut()
        {
            step.expected = printed;
        }
        below = name == "sh";
        if below {
            steps.extend(commands(at + 1, &text));
        }
    }
    steps
}

/// The commands of one fence.
fn commands(first_line: usize, lines: &[&str]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut pending, mut comments) = (String::new(), Vec::new());
    // Whether the last line was of a command or directly below one.
    let mut below = false;
    for (at, line) in lines.iter().enumerate() {
        let comment = pending.is_empty().then(|| line.trim().strip_prefix('#')).flatten();
        if let Some(comment) = comment {
            comments.push(comment.trim());
            if below && let Some(step) = steps.last_mut() {
                step.words.push_str(comment);
                step.expect(comment.trim());
            }
        } else if line.trim().is_empty() && pending.is_empty() {
            below = false;
            comments.clear();
        } else {
            pending.push_str(line);
            pending.push('\n');
            if is_whole(&pending) {
                let line = first_line + at + 1 - pending.lines().count();
                let words = std::mem::take(&mut comments).join("\n");
                let command = std::mem::take(&mut pending).trim_end().to_owned();
                steps.push(Step { line, command, words, expected: None });
                below = true;
            }
        }
    }
    assert!(pending.is_empty(), "line {first_line}: a command does not end: {pending}");
    steps
}

impl Step {
    /// A comment below it: what it prints, or the rest of that, or mere words.
    fn expect(&mut self, comment: &str) {
        match &mut self.expected {
            Some(Expected::Json(json)) if !print::is_whole(json) => {
                json.push('\n');
                json.push_str(comment);
            }
            None if comment.starts_with(['{', '[']) => {
                self.expected = Some(Expected::Json(comment.to_owned()));
            }
            None if !comment.is_empty() && comment.chars().all(|it| it.is_ascii_digit() || it == ' ') => {
                self.expected = Some(Expected::Text(comment.to_owned()));
            }
            _ => {}
        }
    }
}

/// Whether a shell would run this, and not wait for more.
fn is_whole(text: &str) -> bool {
    if text.trim_end_matches('\n').ends_with('\\') {
        return false;
    }
    let mut command = Command::new("bash");
    command.arg("-n").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("bash is installed");
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("read");
    let output = child.wait_with_output().expect("it ends");
    // Of a document in the text that does not end it only complains.
    output.status.success() && output.stderr.is_empty()
}

#[test]
fn a_page_is_taken_apart() {
    let page = "\
Text.

```sh
# Makes it. Again it is a 409.
A=$(curl x |
  sed y)
# {\"a\":1,
#  …}
for it in 1 2; do
  curl $it
done
# 401 401
```

```sh
cat <<'END'
a
END
curl z \\
  -d '{
  }'
```

```json
{\"b\":2}
```

```console
$ not run
```
";
    let steps = steps(page);
    let found: Vec<_> = steps.iter().map(|step| (step.line, step.command.as_str())).collect();
    let expected = [
        (5, "A=$(curl x |\n  sed y)"),
        (9, "for it in 1 2; do\n  curl $it\ndone"),
        (16, "cat <<'END'\na\nEND"),
        (19, "curl z \\\n  -d '{\n  }'"),
    ];
    assert_eq!(found, expected);
    assert!(steps[0].words.contains("409"));
    assert!(matches!(&steps[0].expected, Some(Expected::Json(it)) if it == "{\"a\":1,\n…}"));
    assert!(matches!(&steps[1].expected, Some(Expected::Text(it)) if it == "401 401"));
    assert!(steps[2].expected.is_none());
    assert!(matches!(&steps[3].expected, Some(Expected::Json(it)) if it == "{\"b\":2}"));
}
