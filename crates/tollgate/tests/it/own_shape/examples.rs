//! The examples of the documentation, pasted into a shell.
//!
//! **What is run**: of each page in `docs/`, everything in fences called `sh`, in its order, in one shell in an empty folder, beside
//! a fresh server; before it the whole of `docs/examples.md`, which sets the variables that the pages use. Of the README what is
//! under "Ten minutes with curl". The only change is where the server is: on 127.0.0.1, or `https://tollgate.example.com`. Fences with another name (`console`, `text`,
//! `toml`, …) are not run: they are for what needs more than Tollgate, such as a gateway, a domain name, or a build.
//!
//! **What must come of it**: each command succeeds. Each call of curl is answered with 2xx, unless the call itself shows the status
//! or the words around it name it (`# 409: …`). A comment directly below a command that begins with `{` or `[` is the JSON that the
//! command prints, and one of digits its text; so is a fence `json` or `text` directly below the whole. In these `…` is
//! whatever there is: in a text, as a value, as the last entry of a list or an object. Ids, secrets and times may be others.

mod page;
mod print;
mod shell;

use std::path::{Path, PathBuf};

use self::{
    page::{Step, steps},
    shell::Shell,
};

fn read(page: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(page);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The pages of a folder, by name.
fn pages(folder: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let entries = std::fs::read_dir(path).expect("the folder is there").map(|entry| entry.expect("an entry"));
    let names = entries.map(|entry| entry.file_name().into_string().expect("UTF-8"));
    let pages = names.filter(|name| Path::new(name).extension().is_some_and(|it| it == "md"));
    let mut pages: Vec<_> = pages.map(|name| format!("{folder}/{name}")).collect();
    pages.sort();
    pages
}

/// Runs the steps, and says what did not come of them.
fn run(shell: &Shell, page: &str, before: &[Step], steps: &[Step]) -> (Vec<String>, Vec<String>) {
    let done = shell.run(before.iter().chain(steps));
    let (mut wrong, mut printed) = (Vec::new(), Vec::new());
    for (step, done) in before.iter().chain(steps).zip(&done.steps) {
        wrong.extend(step.judge(done).map(|what| format!("{page}, line {}: {what}", step.line)));
        printed.push(done.printed.clone());
    }
    if let Some(step) = before.iter().chain(steps).nth(done.steps.len()) {
        wrong.push(format!("{page}, line {}: the shell ended in\n{}", step.line, step.command));
    }
    if !wrong.is_empty() {
        wrong.push(done.complaints);
    }
    (wrong, printed)
}

#[test]
#[ignore = "needs curl"]
fn every_example_of_the_documentation_works_as_it_is_pasted() {
    const FIRST: &str = "docs/examples.md";
    let before = steps(&read(FIRST));
    let (mut wrong, mut run_pages) = (Vec::new(), 0);
    for page in pages("docs") {
        let steps = if page == FIRST { Vec::new() } else { steps(&read(&page)) };
        if steps.is_empty() && page != FIRST {
            continue;
        }
        wrong.extend(run(&Shell::beside_a_server(), &page, &before, &steps).0);
        run_pages += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Those of which this was written; a page of which nothing is run would be seen here.
    assert!(run_pages >= 7, "{run_pages}");
}

#[test]
#[ignore = "needs curl"]
fn the_session_of_the_readme_works_as_it_is_pasted() {
    let readme = read("README.md");
    let (_, session) = readme.split_once("## Ten minutes with curl").expect("the section is there");
    let session = steps(session.split("\n## ").next().expect("a section"));
    let (wrong, printed) = run(&Shell::beside_a_server(), "README.md", &[], &session);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let printed = printed.concat();
    for expected in [
        "200 200 200 200 200 200 200 200 200 200 429",
        "HTTP/1.1 429",
        "\"code\":\"RATE_LIMITED\"",
        "\"effective\":\"acknowledged\"",
    ] {
        assert!(printed.contains(expected), "{expected} is not in\n{printed}");
    }
    // The key after it was revoked, and the access token after the logout.
    assert_eq!(printed.lines().filter(|line| *line == "401").count(), 2, "{printed}");
}
